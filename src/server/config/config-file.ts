import { readFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConfigError } from './config-error.ts';
import { checkFile, type ConfigFile } from './config-schema.ts';
import { placeOf, scanJson } from '../replay/json-position.ts';

/** A configuration file that has been read and checked. */
export interface LoadedFile {
  file: ConfigFile;
  /** As problems name it. */
  name: string;
  /** Where its relative paths count from. */
  folder: string | undefined;
}

const defaultNames = ['mullion.config.json', 'mullion.config.mjs'] as const;

/**
 * The named file, or the default one in `cwd`; undefined when there is none. Rejects with ConfigError when the named one is missing, both
 * default ones exist, or the content is not a configuration.
 */
export async function readConfigFile(named: string | undefined, cwd: string): Promise<LoadedFile | undefined> {
  if (named !== undefined) {
    const text = await read(resolve(cwd, named));
    if (text === undefined)
      throw new ConfigError([`--config: expected a file that can be read, got "${named}", which does not exist`]);
    return check(resolve(cwd, named), text);
  }
  const [json, mjs] = await Promise.all(defaultNames.map((name) => read(resolve(cwd, name))));
  if (json !== undefined && mjs !== undefined)
    throw new ConfigError([
      `expected one configuration file, got ${defaultNames.join(' and ')}: remove one, or name one with --config`,
    ]);
  if (json !== undefined) return check(resolve(cwd, defaultNames[0]), json);
  return mjs === undefined ? undefined : check(resolve(cwd, defaultNames[1]), mjs);
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new ConfigError([
      `${basename(path)}: expected a file that can be read, got ${error instanceof Error ? error.message : 'an error'}`,
    ]);
  }
}

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT';

async function check(path: string, text: string): Promise<LoadedFile> {
  const name = basename(path);
  const content = /\.m?js$/.test(name) ? await importDefault(path, name) : parseJson(text, name);
  const checked = checkFile(content, name);
  if ('problems' in checked) throw new ConfigError(checked.problems);
  return { file: checked.file, name, folder: dirname(path) };
}

function parseJson(source: string, name: string): unknown {
  const text = source.replace(/^\uFEFF/, '');
  try {
    return JSON.parse(text);
  } catch {
    // The message of JSON.parse quotes the text around the fault, and with it perhaps a key.
    const { line, column } = placeOf(text, scanJson(text).breaksAt ?? text.length);
    throw new ConfigError([`${name}: expected JSON, got something else at line ${line}, column ${column}`]);
  }
}

async function importDefault(path: string, name: string): Promise<unknown> {
  let module: unknown;
  try {
    module = await import(pathToFileURL(path).href);
  } catch (error) {
    throw new ConfigError([
      `${name}: expected a module that can be loaded, got ${error instanceof Error ? error.message : 'an error'}`,
    ]);
  }
  const content: unknown =
    typeof module === 'object' && module !== null && 'default' in module ? module.default : undefined;
  if (content === undefined) throw new ConfigError([`${name}: expected "export default {…}", got no default export`]);
  return content;
}
