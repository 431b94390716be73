/** Fields of a log line. Never a token, a text of a message, or anything else that a person wrote. */
export type LogFields = { readonly [field: string]: unknown };

/** Where log lines go. Calls are synchronous, cheap and never throw. */
export interface Logger {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
}

/** A logger that drops everything. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };
