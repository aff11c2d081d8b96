// Sequelize, one migration at a time, by the umzug that the project or sequelize-cli brings.
"use strict";
const path = require("path");

exports.Tool = class {
  constructor(work, recorder, { load, read, connection }) {
    const { Sequelize } = load("sequelize");
    const umzug = load("umzug");
    this.recorder = recorder;
    const { host, port, user, database, password, options } = connection;
    const at = { host, port, username: user, database, password, dialectOptions: options ? { options } : {} };
    this.sequelize = new Sequelize({ dialect: "postgres", ...at, logging: false, pool: { min: 0, evict: 10, idle: 10 } });
    const queryInterface = this.sequelize.getQueryInterface();
    recorder.follow(queryInterface);
    recorder.follow(Object.getPrototypeOf(this.sequelize));
    // What a migration is called with depends on the project: (queryInterface, Sequelize) or ({ context: queryInterface }).
    queryInterface.context = queryInterface;
    this.umzugFor = (file) => {
      const name = path.basename(file);
      const up = async () => (await read(file)).up(queryInterface, Sequelize);
      if (umzug.SequelizeStorage) {
        const storage = new umzug.SequelizeStorage({ sequelize: this.sequelize });
        return new umzug.Umzug({ migrations: [{ name, path: file, up }], storage });
      }
      const params = [queryInterface, Sequelize];
      const migrations = { params, path: path.dirname(file), pattern: /./, customResolver: () => ({ up, down: up }) };
      return new (umzug.default || umzug)({ storage: "sequelize", storageOptions: { sequelize: this.sequelize }, migrations });
    };
  }

  async apply(request) {
    const tool = this.umzugFor(request.path);
    await this.sequelize.authenticate();
    this.recorder.begin(request.step, request.stop);
    await tool.up({ migrations: [path.basename(request.path)] });
  }
};
