import type { JsonObject } from '../../protocol/records.ts';
import type { ConfigFile } from './config-schema.ts';
import type { Overrides } from './config-overrides.ts';
import { readWorkflow } from './config-workflow.ts';
import { imageEngine } from '../engines.ts';

/** The image engines, in the order in which they are asked. */
export interface ImageConfig {
  readonly engines: readonly [ImageEngineConfig, ...ImageEngineConfig[]];
  /** Longest work of an engine that has another one behind it, ms. */
  readonly tryTimeoutMs: number;
}

/** One image engine. What is absent is the backend's own default. */
export type ImageEngineConfig =
  | { readonly engine: 'offline' }
  | { readonly engine: 'none' }
  | {
      readonly engine: 'openai';
      readonly baseUrl: string;
      readonly apiKey?: string;
      readonly model: string;
      /** WIDTHxHEIGHT in pixels, or auto. */
      readonly size?: string;
      readonly partialImages: number;
    }
  | ({
      readonly engine: 'a1111';
      readonly baseUrl: string;
      readonly auth?: { readonly user: string; readonly password: string };
      /** Name of the checkpoint. */
      readonly model?: string;
    } & Recipe)
  | ({
      readonly engine: 'comfyui';
      readonly baseUrl: string;
      readonly workflow?: JsonObject;
      readonly checkpoint?: string;
      readonly scheduler?: string;
    } & Recipe);

/** How a diffusion model is to draw. */
interface Recipe {
  readonly size?: string;
  readonly steps?: number;
  readonly cfgScale?: number;
  readonly sampler?: string;
  readonly negativePrompt?: string;
}

type ImageFile = NonNullable<ConfigFile['image']>;
type EngineFile = Omit<ImageFile, 'engines' | 'tryTimeoutMs'>;
type EngineName = NonNullable<EngineFile['engine']>;
type Key = Exclude<keyof EngineFile, 'engine'>;

const recipe = ['size', 'steps', 'cfgScale', 'sampler', 'negativePrompt'] as const;
/** What each engine can be told. */
const keysOf: { readonly [E in EngineName]: readonly Key[] } = {
  offline: [],
  none: [],
  openai: ['baseUrl', 'apiKey', 'model', 'size', 'partialImages'],
  a1111: ['baseUrl', 'auth', 'model', ...recipe],
  comfyui: ['baseUrl', 'workflow', 'checkpoint', 'scheduler', ...recipe],
};

/** Where the programs listen when nobody has told them otherwise. */
const usualUrl = { a1111: 'http://127.0.0.1:7860', comfyui: 'http://127.0.0.1:8188' } as const;

/** What an image engine may take from elsewhere. */
export interface ImageContext {
  read: Overrides;
  /** Address and key of the text engine: those of an `openai` image engine that names none. */
  shared: () => { readonly baseUrl: string; readonly apiKey: string | null };
  /** Where relative paths count from. */
  folder: string;
  problems: string[];
}

/** The image section, resolved. Reads the files of workflows. */
export function resolveImage(file: ImageFile, context: ImageContext): ImageConfig {
  const { engines, tryTimeoutMs = 60_000, ...single } = file;
  if (engines === undefined) return { engines: [resolveSingle(single, context)], tryTimeoutMs };
  const { problems, read } = context;
  for (const key of givenKeys(single)) {
    problems.push(
      `image.${key}: expected either image.engines or one engine, got both; it belongs into an engine of the list`,
    );
  }
  if (modelName(read) !== undefined) {
    problems.push('MULLION_IMAGE_MODEL: expected only with one image engine, got it with image.engines');
  }
  const [first = {}, ...rest] = engines;
  const inChain = (engine: EngineFile, index: number): ImageEngineConfig => {
    const where = `image.engines.${index}`;
    if (engine.engine === undefined) problems.push(`${where}.engine: expected the name of an engine, got nothing`);
    if (engine.engine === 'none') problems.push(`${where}.engine: expected an engine that draws, got "none"`);
    if (engine.engine === 'offline' && index < engines.length - 1)
      problems.push(
        `${where}.engine: expected "offline" as the last one only, since it never fails; more are behind it`,
      );
    return resolveEngine(where, engine.engine ?? 'offline', engine, context);
  };
  return { engines: [inChain(first, 0), ...rest.map((engine, index) => inChain(engine, index + 1))], tryTimeoutMs };
}

function resolveSingle(file: EngineFile, context: ImageContext): ImageEngineConfig {
  const named = modelName(context.read);
  const given = givenKeys(file);
  if (named === undefined) {
    if (given.length === 0) return { engine: 'offline' };
    return resolveEngine('image', file.engine ?? 'openai', file, context);
  }
  // Our own variable is a choice, and stronger than the file's: it also turns "offline" into an engine with a model.
  if (file.engine === 'a1111') return resolveEngine('image', 'a1111', { ...file, model: named }, context);
  if (file.engine === 'comfyui') return resolveEngine('image', 'comfyui', { ...file, checkpoint: named }, context);
  return resolveEngine('image', 'openai', { ...file, model: named }, context);
}

const modelName = (read: Overrides): string | undefined => read.text(undefined, 'MULLION_IMAGE_MODEL');

/** Checked as far as that goes without asking the backend: the engine is made once, for what it says of its settings. */
function resolveEngine(where: string, engine: EngineName, file: EngineFile, context: ImageContext): ImageEngineConfig {
  const { problems } = context;
  const before = problems.length;
  checkKeys(where, engine, file, problems);
  const config = engineOf(where, engine, file, context);
  if (problems.length > before) return config;
  try {
    imageEngine(config);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    problems.push(`${where}.${error.message}`);
  }
  return config;
}

function checkKeys(where: string, engine: EngineName, file: EngineFile, problems: string[]): void {
  for (const key of givenKeys(file)) {
    if (key === 'engine' || keysOf[engine].includes(key)) continue;
    const takers = Object.entries(keysOf).flatMap(([name, keys]) => (keys.includes(key) ? [`"${name}"`] : []));
    problems.push(`${where}.${key}: expected only with "engine": ${takers.join(' or ')}, got it with "${engine}"`);
  }
}

function engineOf(where: string, engine: EngineName, file: EngineFile, context: ImageContext): ImageEngineConfig {
  switch (engine) {
    case 'offline':
    case 'none':
      return { engine };
    case 'openai':
      return openai(where, file, context);
    case 'a1111':
      return { engine, baseUrl: trimmed(file.baseUrl ?? usualUrl.a1111), ...only(file, ['auth', 'model', ...recipe]) };
    case 'comfyui':
      return {
        engine,
        baseUrl: trimmed(file.baseUrl ?? usualUrl.comfyui),
        ...workflow(where, file, context),
        ...only(file, ['checkpoint', 'scheduler', ...recipe]),
      };
  }
}

function openai(where: string, file: EngineFile, { shared, problems }: ImageContext): ImageEngineConfig {
  if (file.model === undefined)
    problems.push(`${where}.model: expected the name of a model, got none. Set MULLION_IMAGE_MODEL or ${where}.model.`);
  const text = shared();
  const baseUrl = trimmed(file.baseUrl ?? text.baseUrl);
  // The key of one host is not shown to another.
  const apiKey = file.apiKey ?? (originOf(baseUrl) === originOf(text.baseUrl) ? text.apiKey : null);
  return {
    engine: 'openai',
    baseUrl,
    ...(apiKey === null ? {} : { apiKey }),
    model: file.model ?? '',
    ...only(file, ['size']),
    partialImages: file.partialImages ?? 0,
  };
}

function workflow(where: string, file: EngineFile, { folder, problems }: ImageContext): { workflow?: JsonObject } {
  if (file.workflow === undefined) return {};
  const found = readWorkflow(file.workflow, folder);
  if ('workflow' in found) return found;
  problems.push(`${where}.workflow: ${found.problem}`);
  return {};
}

/** What is probably not meant: engines of which the last has no time left in a run of the scene. */
export function warningsOfImage(config: ImageConfig, sceneTimeoutMs: number | undefined): string[] {
  const { engines, tryTimeoutMs } = config;
  const beforeLastMs = (engines.length - 1) * tryTimeoutMs;
  if (sceneTimeoutMs === undefined || beforeLastMs < sceneTimeoutMs) return [];
  return [
    `image.tryTimeoutMs: the engines before the last of image.engines may take ${beforeLastMs} ms, a whole run of the scene ` +
      `(panes.scene.timeoutMs) has ${sceneTimeoutMs} ms: the last one may never be asked.`,
  ];
}

/** What must not be seen of an image engine. */
export function secretsOfImage(config: ImageConfig): string[] {
  return config.engines.flatMap((engine) => {
    if (engine.engine === 'openai') return engine.apiKey === undefined ? [] : [engine.apiKey];
    if (engine.engine !== 'a1111' || engine.auth === undefined) return [];
    const { user, password } = engine.auth;
    return [password, Buffer.from(`${user}:${password}`).toString('base64')];
  });
}

type Given<K extends keyof EngineFile> = { [P in K]?: Exclude<EngineFile[P], undefined> };

/** These keys of the file, without those that hold nothing (an .mjs file may have them). */
function only<const K extends keyof EngineFile>(file: EngineFile, keys: readonly K[]): Given<K> {
  const picked = keys.flatMap((key) => (file[key] === undefined ? [] : [[key, file[key]] as const]));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- fromEntries forgets the keys; the filter makes the type true
  return Object.fromEntries(picked) as Given<K>;
}

function givenKeys(file: EngineFile): (keyof EngineFile)[] {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the schema refuses other keys
  return (Object.keys(file) as (keyof EngineFile)[]).filter((key) => file[key] !== undefined);
}

export const trimmed = (url: string): string => url.replace(/\/+$/, '');
const originOf = (url: string): string => (URL.canParse(url) ? new URL(url).origin : url);
