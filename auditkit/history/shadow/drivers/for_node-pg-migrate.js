// node-pg-migrate, one migration at a time. A migration only collects statements, which are sent when it is over: the line
// that asked for each is remembered.
"use strict";
const path = require("path");

exports.Tool = class {
  constructor(work, recorder, { load, read, connection }) {
    this.recorder = recorder;
    this.connection = connection;
    this.loaded = read(load.resolve("node-pg-migrate")).then((module) => {
      follow(module.Migration, recorder);
      return module.runner || module.default || module;
    });
  }

  async apply(request) {
    const run = await this.loaded;
    this.recorder.begin(request.step, request.stop);
    await run({
      migrationsTable: "pgmigrations",
      databaseUrl: this.connection,
      dir: path.dirname(request.path),
      file: path.parse(request.path).name,
      direction: "up",
      checkOrder: false,
      noLock: true,
      log: () => {},
    });
  }
};

function follow(Migration, recorder) {
  const apply = Migration.prototype._apply;
  Migration.prototype._apply = function (action, pgm) {
    const asked = new Map(); // statement → the lines that asked for it
    for (const name of Object.keys(pgm)) {
      const plain = pgm[name];
      if (typeof plain !== "function") continue;
      pgm[name] = (...args) => {
        const before = pgm.getSqlSteps().length;
        const result = plain(...args);
        for (const sql of pgm.getSqlSteps().slice(before)) asked.set(sql, [...(asked.get(sql) || []), recorder.lineNow()]);
        return result;
      };
    }
    const db = this.db;
    const query = (sql, ...rest) => {
      recorder.line = (asked.get(sql) || []).shift() || null;
      return db.query(sql, ...rest);
    };
    this.db = { ...db, query };
    return apply.call(this, action, pgm);
  };
}
