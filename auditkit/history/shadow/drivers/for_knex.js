// Knex, one migration at a time. The configuration is the knexfile's, but for the connection.
"use strict";
const path = require("path");

exports.Tool = class {
  constructor(work, recorder, { load, connection }) {
    this.recorder = recorder;
    let config = load(work.knexfile);
    config = config.default || config;
    if (!config.client) config = config[process.env.NODE_ENV || "development"] || {};
    this.knex = load("knex")({ ...config, client: "pg", connection, pool: { min: 0 } });
    follow(this.knex.client.constructor.prototype, recorder);
  }

  async apply(request) {
    const migrations = this.knex.client.config.migrations || {};
    this.recorder.begin(request.step, request.stop);
    await this.knex.migrate.up({ ...migrations, name: path.basename(request.path) });
  }
};

/** A builder runs after the line that made it: remember that line, and tell it when the builder's statements are sent. */
function follow(prototype, recorder) {
  for (const name of ["schemaBuilder", "queryBuilder", "raw"]) {
    const plain = prototype[name];
    prototype[name] = function (...args) {
      const builder = plain.apply(this, args);
      builder.auditkitLine = recorder.lineNow();
      return builder;
    };
  }
  const runner = prototype.runner;
  prototype.runner = function (builder) {
    const made = runner.call(this, builder);
    const query = made.query;
    made.query = function (...args) {
      recorder.line = builder.auditkitLine || recorder.line;
      return query.apply(this, args);
    };
    return made;
  };
}
