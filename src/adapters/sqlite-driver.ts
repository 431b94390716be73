import { createRequire } from 'node:module';

/** What can be bound. No booleans: libsql panics (aborts the process) on them. Text is bound as UTF-8 `Uint8Array`, see `journal-schema.ts`. */
export type SqlValue = null | number | string | Uint8Array;

/** A row by column name. Read it with the checked getters of `row.ts`. */
export type Row = { readonly [column: string]: unknown };

/** A prepared statement; parameters are positional. Throws SqliteFault. */
export interface SqlStatement {
  run(...values: SqlValue[]): { changes: number; rowid: number };
  get(...values: SqlValue[]): Row | undefined;
  all(...values: SqlValue[]): Row[];
}

/** One open connection. Synchronous. Throws SqliteFault. */
export interface SqlDatabase {
  exec(sql: string): void;
  prepare(sql: string): SqlStatement;
  /**
   * Ends the connection. With libsql the file lock goes only when every prepared statement has been collected (it has no finalize):
   * whoever wants the lock gone at once leaves WAL mode first (`closeStore` in journal-schema.ts).
   */
  close(): void;
}

/** Opens a connection to the file `path`, creating it when absent. */
export type OpenDatabase = (path: string) => SqlDatabase;

/** SQLite's primary result codes that we tell apart. https://sqlite.org/rescode.html */
export const sqliteCodes = {
  busy: 5,
  noMemory: 7,
  readOnly: 8,
  io: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  tooBig: 18,
  misuse: 21,
  notDatabase: 26,
} as const;

/** An error of SQLite. `code` is the primary result code (see sqliteCodes), `extended` the extended one. */
export class SqliteFault extends Error {
  override readonly name = 'SqliteFault';
  readonly code: number;
  readonly extended: number;

  constructor(extended: number, message: string, cause?: unknown) {
    super(message, { cause });
    this.extended = extended;
    this.code = extended & 0xff;
  }
}

/**
 * `node:sqlite` where it exists unflagged (Node >= 22.13), else `libsql` (prebuilt, no compiler, no download).
 *
 * ATTENTION: this repository is developed on Node 20, where only the libsql branch can run. The node:sqlite branch is written from its
 * documentation; the suite in test/adapters runs it wherever it exists and says so loudly where it is skipped.
 */
export const openDatabase: OpenDatabase = (path) => {
  const builtIn = nodeSqlite();
  return builtIn === undefined ? openLibsql(path) : openNode(builtIn, path);
};

/** Which driver `openDatabase` uses in this process. */
export function driverName(): 'node:sqlite' | 'libsql' {
  return nodeSqlite() === undefined ? 'libsql' : 'node:sqlite';
}

/** What the two libraries have in common; they differ in how parameters are passed and in their errors. */
interface ForeignStatement {
  run(...values: unknown[]): { changes: number | bigint; lastInsertRowid: number | bigint };
  get(...values: unknown[]): Row | undefined;
  all(...values: unknown[]): Row[];
}

interface ForeignDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): ForeignStatement;
  close(): void;
}

const require = createRequire(import.meta.url);

interface NodeSqlite {
  DatabaseSync: new (path: string) => ForeignDatabase;
}

let foundNodeSqlite: NodeSqlite | null | undefined;

function nodeSqlite(): NodeSqlite | undefined {
  if (foundNodeSqlite === undefined) {
    try {
      // Typed by hand: @types/node 20 does not know the module.
      const found: NodeSqlite = require('node:sqlite');
      foundNodeSqlite = found;
    } catch {
      foundNodeSqlite = null;
    }
  }
  return foundNodeSqlite ?? undefined;
}

function openNode({ DatabaseSync }: NodeSqlite, path: string): SqlDatabase {
  return wrap(
    guard(() => new DatabaseSync(path)),
    (values) => values,
  );
}

function openLibsql(path: string): SqlDatabase {
  // Required here and not imported, so that Node >= 22.13 never loads its native code. Typed by hand: its own types say `any`.
  const Libsql: new (path: string) => ForeignDatabase = require('libsql');
  // One array: a lone Buffer argument would be taken for named parameters.
  return wrap(
    guard(() => new Libsql(path)),
    (values) => [values],
  );
}

function wrap(database: ForeignDatabase, pass: (values: SqlValue[]) => unknown[]): SqlDatabase {
  /** So that `close` can let go of every statement, whoever still holds the closures around it (an error's stack does). */
  const held = new Set<{ statement: ForeignStatement | undefined }>();
  return {
    exec: (sql) => void guard(() => database.exec(sql)),
    close: () => {
      for (const holder of held) holder.statement = undefined;
      held.clear();
      guard(() => database.close());
    },
    prepare: (sql) => {
      const holder: { statement: ForeignStatement | undefined } = { statement: guard(() => database.prepare(sql)) };
      held.add(holder);
      const statement = (): ForeignStatement => {
        if (holder.statement === undefined) throw new SqliteFault(sqliteCodes.misuse, 'the connection is closed');
        return holder.statement;
      };
      return {
        run: (...values) => {
          const { changes, lastInsertRowid } = guard(() => statement().run(...pass(values)));
          return { changes: Number(changes), rowid: Number(lastInsertRowid) };
        },
        get: (...values) => guard(() => statement().get(...pass(values))),
        all: (...values) => guard(() => statement().all(...pass(values))),
      };
    },
  };
}

function guard<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toFault(error);
  }
}

/** libsql: `rawCode`; node:sqlite: `errcode`. An open that failed in libsql has neither. */
function toFault(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof SqliteFault) return error;
  // Formatting the stack makes V8 forget its call sites: they would keep the statement alive, and with it the file lock.
  void error.stack;
  const code = 'rawCode' in error ? error.rawCode : 'errcode' in error ? error.errcode : undefined;
  if (typeof code === 'number') return new SqliteFault(code, error.message, error);
  return new SqliteFault(sqliteCodes.cannotOpen, error.message, error);
}
