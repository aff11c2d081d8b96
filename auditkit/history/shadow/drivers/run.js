// Apply one migration at a time with the project's own tool, on the shadow database and on nothing else.
// What run.py is to tools written in Python; the same requests and answers, and the same guards: every socket of this
// process is refused but the shadow's, and so are PostgreSQL's own programs.
"use strict";
const childProcess = require("child_process");
const fs = require("fs");
const net = require("net");
const path = require("path");
const readline = require("readline");

const NOT_WITHIN = /^\s*(begin|start|commit|end|rollback|abort|savepoint|release|set)\b/i;
const PROGRAMS = /(^|[\s/])(psql|pg_restore|pg_dump|pg_dumpall|createdb|dropdb|createuser|vacuumdb|pgcli)(\s|$)/;
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
}

/** What the tool sent while one migration ran: line, text, and a transaction id where no mark could be left. */
class Recorder {
  constructor(table) {
    this.table = table;
    this.begin(null);
    this.file = "";
  }

  begin(step) {
    this.step = step;
    this.statements = [];
    this.line = null;
  }

  lineNow() {
    const stack = new Error().stack.split("\n").find((line) => this.file && line.includes(this.file + ":"));
    return stack ? Number(stack.slice(stack.indexOf(this.file + ":") + this.file.length + 1).split(":")[0]) : null;
  }

  watch(pg) {
    const recorder = this;
    const plain = pg.Client.prototype.query;
    const ignore = () => {}; // after a statement that failed, its mark fails, too
    pg.Client.prototype.query = function (...args) {
      const text = typeof args[0] === "string" ? args[0] : args[0] && args[0].text;
      if (recorder.step === null || !text) return plain.apply(this, args);
      const statement = [recorder.lineNow() || recorder.line || recorder.first, text, null];
      const number = recorder.statements.push(statement) - 1;
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

async function main() {
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
      tool = tool || new (require(path.join(__dirname, `for_${work.tool}.js`)).Tool)(work, recorder);
      answer = await tool.apply(request);
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
