import { baseUrlProblem, type LogLevel, logLevels, tokenExpectation, tokenPattern } from './config-schema.ts';

/** Command line flags that override everything else; texts as they were typed. */
export interface Flags {
  host?: string;
  port?: string;
  data?: string;
  config?: string;
  logLevel?: string;
  /** Folder of the Markdown export. */
  export?: string;
}

/** Environment variables: `process.env`. */
export interface Environment {
  readonly [name: string]: string | undefined;
}

/** Environment and flags, checked; problems name the variable or flag. An empty variable counts as absent. */
export class Overrides {
  readonly #flags: { [flag: string]: string | undefined };
  readonly #env: Environment;
  readonly #problems: string[];

  constructor(flags: Flags, env: Environment, problems: string[]) {
    this.#flags = {
      '--host': flags.host,
      '--port': flags.port,
      '--data': flags.data,
      '--log-level': flags.logLevel,
      '--export': flags.export,
    };
    this.#env = env;
    this.#problems = problems;
  }

  text(flag: string | undefined, variable: string | undefined): string | undefined {
    return this.#find(flag, variable)?.value;
  }

  port(): number | undefined {
    const found = this.#find('--port', 'MULLION_PORT');
    if (found === undefined) return undefined;
    const port = /^\d{1,5}$/.test(found.value) ? Number(found.value) : NaN;
    if (port <= 65_535) return port;
    this.#problems.push(`${found.name}: expected a whole number from 0 to 65535, got "${found.value}"`);
    return undefined;
  }

  logLevel(): LogLevel | undefined {
    const found = this.#find('--log-level', undefined);
    const level = logLevels.find((known) => known === found?.value);
    if (found !== undefined && level === undefined)
      this.#problems.push(`${found.name}: expected one of ${logLevels.join(', ')}, got "${found.value}"`);
    return level;
  }

  baseUrl(): string | undefined {
    const found = this.#find(undefined, 'OPENAI_BASE_URL');
    const problem = found === undefined ? undefined : baseUrlProblem(found.value);
    if (problem !== undefined)
      this.#problems.push(`OPENAI_BASE_URL: expected ${problem}, got another text (not shown)`);
    return found?.value;
  }

  token(others: readonly string[]): string[] {
    const found = this.#find(undefined, 'MULLION_TOKEN');
    if (found === undefined) return [...others];
    if (!tokenPattern.test(found.value))
      this.#problems.push(
        `MULLION_TOKEN: expected ${tokenExpectation}, got another text of ${found.value.length} characters (not shown)`,
      );
    return [found.value];
  }

  #find(flag: string | undefined, variable: string | undefined): { name: string; value: string } | undefined {
    const flagged = flag === undefined ? undefined : this.#flags[flag];
    if (flag !== undefined && flagged !== undefined) return { name: flag, value: flagged };
    const value = variable === undefined ? undefined : this.#env[variable];
    return variable === undefined || value === undefined || value === '' ? undefined : { name: variable, value };
  }
}
