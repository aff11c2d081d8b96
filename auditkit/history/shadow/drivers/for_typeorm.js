// TypeORM, one migration at a time, each in a transaction of its own unless it says otherwise. No entity is needed for that,
// so none is loaded.
"use strict";

exports.Tool = class {
  constructor(work, recorder, { load, read, connection }) {
    this.recorder = recorder;
    this.read = read;
    const { DataSource, Connection } = load("typeorm");
    const { host, port, user, database, password, options } = connection;
    const at = { host, port, username: user, database, password, extra: options ? { options } : {} };
    this.connect = (migrations) => {
      const source = new (DataSource || Connection)({ type: "postgres", ...at, migrations });
      recorder.follow(source.createQueryRunner());
      return (source.initialize || source.connect).call(source);
    };
  }

  async apply(request) {
    const exported = Object.values(await this.read(request.path));
    const classes = exported.filter((item) => typeof item === "function" && item.prototype && item.prototype.up);
    const source = await this.connect(classes);
    this.recorder.begin(request.step, request.stop);
    try {
      await source.runMigrations({ transaction: "each" });
    } finally {
      await (source.destroy || source.close).call(source);
    }
  }
};
