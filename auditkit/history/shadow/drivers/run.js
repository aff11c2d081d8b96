// Apply one migration at a time with the project's own tool, on the shadow database and on nothing else.
// What run.py is to tools written in Python; the same requests and answers, and the same guards: every socket of this
// process is refused but the shadow's, and so are PostgreSQL's own programs.
"use strict";
const { AsyncLocalStorage } = require("async_hooks");
const childProcess = require("child_process");
const fs = require("fs");
const { createRequire, syncBuiltinESMExports } = require("module");
const net = require("net");
const path = require("path");
const readline = require("readline");
const { pathToFileURL } = require("url");

const NOT_WITHIN = /^\s*(begin|start|commit|end|rollback|abort|savepoint|release|set)\b/i;
const PROGRAMS = /(^|[\s/])(psql|pg_restore|pg_dump|pg_dumpall|createdb|dropdb|createuser|vacuumdb|pgcli)(\s|$)/;
const FAIL = "DO $$ BEGIN RAISE EXCEPTION 'stopped here'; END $$";
const refused = [];

function refuse(what) {
  refused.push(what);
  throw new Error("not the shadow database: " + what);
}

function closeAllOthers(work) {
  const connect = net.Socket.prototype.connect;
  const shadow = work.shadow;
  const socket = shadow && shadow.host.startsWith("/") ? `${shadow.host}/.s.PGSQL.${shadow.port}` : null;
  net.Socket.prototype.connect = function (...args) {
    const given = Array.isArray(args[0]) ? args[0] : args;
    const callback = given.find((item) => typeof item === "function");
    let where = given[0];
    if (where === null || typeof where !== "object") {
      where = isNaN(Number(where)) ? { path: where } : { port: where, host: given[1] };
    }
    const here = shadow && (where.path ? where.path === socket : where.host === work.alias || where.host === shadow.host);
    if (here) {
      const target = socket ? { path: socket } : { host: shadow.host, port: Number(shadow.port) };
      return connect.call(this, target, callback);
    }
    return refuse(where.path || `${where.host || "localhost"}:${where.port}`);
  };
  for (const name of ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync"]) {
    const plain = childProcess[name];
    childProcess[name] = function (command, ...args) {
      const words = [command, ...(Array.isArray(args[0]) ? args[0] : [])].join(" ");
      const found = PROGRAMS.exec(words);
      return found ? refuse(`whatever ${found[2]} connects to`) : plain.call(this, command, ...args);
    };
  }
  syncBuiltinESMExports();
}

/** What the tool sent while one migration ran: line, text, a transaction id where no mark could be left, and whether
 * values were sent apart. */
class Recorder {
  constructor(table) {
    this.table = table;
    this.within = new AsyncLocalStorage();
    this.begin(null);
    this.file = "";
  }

  /** From now on statements are noted; the one after *stop* others fails. */
  begin(step, stop = null) {
    this.step = step;
    this.stop = stop;
    this.statements = [];
    this.line = null;
  }

  lineNow() {
    const stack = new Error().stack.split("\n").find((line) => this.file && line.includes(this.file + ":"));
    return stack ? Number(stack.slice(stack.indexOf(this.file + ":") + this.file.length + 1).split(":")[0]) : null;
  }

  /** What is sent on behalf of a method of *object*, at once or later, bears the line that called the method. */
  follow(object) {
    const recorder = this;
    for (let at = object; at && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
      for (const name of Object.getOwnPropertyNames(at)) {
        const plain = Object.getOwnPropertyDescriptor(at, name).value;
        if (typeof plain !== "function" || name === "constructor" || plain.auditkit) continue;
        at[name] = function (...args) {
          const line = recorder.lineNow();
          return line ? recorder.within.run(line, () => plain.apply(this, args)) : plain.apply(this, args);
        };
        at[name].auditkit = true;
      }
    }
  }

  watch(pg) {
    const recorder = this;
    const plain = pg.Client.prototype.query;
    const ignore = () => {}; // after a statement that failed, its mark fails, too
    pg.Client.prototype.query = function (...args) {
      const text = typeof args[0] === "string" ? args[0] : args[0] && args[0].text;
      if (recorder.step === null || !text) return plain.apply(this, args);
      const line = recorder.lineNow() || recorder.within.getStore() || recorder.line || recorder.first;
      const values = Array.isArray(args[1]) ? args[1] : args[0].values;
      const statement = [line, text, null, Boolean(values && values.length)];
      const number = recorder.statements.push(statement) - 1;
      if (number === recorder.stop) return plain.call(this, FAIL, ...args.filter((item) => typeof item === "function"));
      const word = (NOT_WITHIN.exec(text) || [])[1];
      if (/^(begin|start)$/i.test(word || "")) this.auditkitWithin = true;
      if (/^(commit|end|abort)$/i.test(word || "") || /^\s*rollback\s*;?\s*$/i.test(text)) this.auditkitWithin = false;
      if (!this.auditkitWithin && !word) {
        plain.call(this, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS x", (error, result) => {
          statement[2] = error ? null : Number(result.rows[0].x);
        });
        return plain.apply(this, args);
      }
      if (word) return plain.apply(this, args);
      plain.call(this, "SAVEPOINT auditkit", ignore);
      const result = plain.apply(this, args);
      plain.call(this, `INSERT INTO ${recorder.table} VALUES (${number})`, ignore);
      plain.call(this, "RELEASE SAVEPOINT auditkit", ignore);
      return result;
    };
  }
}

function explained(error, recorder) {
  const stack = String(error.stack || "");
  const at = recorder.file ? stack.indexOf(recorder.file + ":") : -1;
  const line = at < 0 ? null : Number(stack.slice(at + recorder.file.length + 1).split(":")[0]);
  const last = recorder.statements.find((s) => error.message && error.message.startsWith(s[1])) || recorder.statements.at(-1);
  const state = error.severity ? error.code : "";
  const message = String(error.message).split("\n")[0];
  return {
    line: (state && last && last[0]) || line || recorder.first || 1,
    outside: line === null && !last,
    message: state ? message.split(" - ").at(-1) : message,
    sqlstate: state,
    statement: state && last ? last[1] : "",
  };
}

/** Have migrations in TypeScript understood, by what the project itself has for that. */
function understandTypeScript(load) {
  const installed = (name) => {
    try {
      return load(name);
    } catch {
      return null;
    }
  };
  process.setSourceMapsEnabled(true);
  const tsx = installed("tsx/cjs/api");
  if (tsx) {
    tsx.register();
    load("tsx/esm/api").register();
    return;
  }
  const typescript = installed("typescript");
  if (!typescript) return;
  const compilerOptions = {
    module: typescript.ModuleKind.CommonJS,
    target: typescript.ScriptTarget.ES2020,
    esModuleInterop: true,
    experimentalDecorators: true,
    inlineSourceMap: true,
  };
  for (const ending of [".ts", ".cts"]) {
    require.extensions[ending] = (module, file) => {
      const told = { compilerOptions, fileName: file };
      module._compile(typescript.transpileModule(fs.readFileSync(file, "utf8"), told).outputText, file);
    };
  }
}

/** What a module exports, in whichever way it has to be loaded. */
async function read(file) {
  try {
    return require(file);
  } catch (error) {
    if (error.code !== "ERR_REQUIRE_ESM") throw error;
    return import(pathToFileURL(file));
  }
}

/** The shadow, as node-postgres is told of it. */
function connectionOf(work) {
  const { host, port, user, dbname, password, options } = work.shadow;
  return { host, port: Number(port), user, database: dbname, password, ...(options ? { options } : {}) };
}

async function main() {
  Error.stackTraceLimit = 100; // libraries are deep, and the migration's own line is far out
  process.stdout.write = (...args) => process.stderr.write(...args);
  let work, recorder, tool;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    if (!work) {
      work = request;
      recorder = new Recorder(work.marks);
      closeAllOthers(work);
      continue;
    }
    let answer = {};
    try {
      recorder.begin(null);
      recorder.file = request.path ? fs.realpathSync(request.path) : "";
      const up = (request.text || "").split("\n").findIndex((text) => /\bup\b/.test(text));
      recorder.first = up + 1 || 1;
      if (!tool) {
        const load = createRequire(path.join(work.root, "package.json"));
        if (/\.[cm]?ts$/.test(request.path)) understandTypeScript(load);
        recorder.watch(load("pg"));
        const { Tool } = require(path.join(__dirname, `for_${work.tool}.js`));
        tool = new Tool(work, recorder, { load, read, connection: connectionOf(work) });
      }
      if (fs.readFileSync(request.path, "utf8").replace(/\r\n?/g, "\n") !== request.text) {
        throw new Error("the tool loads another text of this migration: " + request.path);
      }
      answer = (await tool.apply(request)) || {};
    } catch (error) {
      console.error(error);
      answer = { error: explained(error, recorder) };
    }
    answer.statements = recorder.statements;
    recorder.step = null;
    if (refused.length) answer.refused = refused[0];
    fs.writeSync(1, JSON.stringify(answer) + "\n");
  }
  process.exit(0);
}

main();
