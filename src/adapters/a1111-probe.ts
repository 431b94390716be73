import type { Probe } from '../ports/models.ts';
import { ProviderError } from '../ports/errors.ts';
import { a1111Server, look, type A1111Options, type A1111Server } from './a1111-server.ts';
import { httpJson, scrubbed } from './http-json.ts';
import { cleanMessage, field } from './openai-errors.ts';

/** Longest that the check may take. */
const defaultBoundMs = 5000;
/** A list of models is some kilobytes, also with thousands of them. */
const maxListBytes = 8 * 1024 * 1024;

/**
 * Whether the backend can be reached, lets us in and has the model. It draws nothing: that would take minutes and load a model. Never rejects;
 * takes `boundMs` at most.
 */
export async function probeA1111(options: A1111Options, boundMs: number = defaultBoundMs): Promise<Probe> {
  const controller = new AbortController();
  let timer: unknown;
  let server: A1111Server | undefined;
  try {
    server = a1111Server(options);
    timer = server.backend.clock.setTimeout(() => controller.abort(), boundMs);
    const { ok, message } = await probe(server, controller.signal);
    return { ok, message: cleanMessage(scrubbed(server.backend, message), server.backend.upstream.key) };
  } catch (error) {
    const host = server?.backend.upstream.host ?? 'the backend';
    if (controller.signal.aborted) {
      return { ok: false, message: `expected an answer of ${host} within ${boundMs} ms, none came` };
    }
    return { ok: false, message: error instanceof Error ? error.message : 'the check failed' };
  } finally {
    server?.backend.clock.clearTimeout(timer);
  }
}

async function probe(server: A1111Server, signal: AbortSignal): Promise<Probe> {
  const { model } = server;
  const { host } = server.backend.upstream;
  const listed = await modelsOf(server, signal);
  if (listed === undefined) {
    return {
      ok: false,
      message: `expected the API of A1111 at ${host}, which has no /sdapi/v1/sd-models: was it started with --api?`,
    };
  }
  if (model !== undefined && !listed.some((entry) => entry.names.includes(model))) {
    const titles = listed.map((entry) => entry.names[0]);
    const more = titles.length > 5 ? ` and ${titles.length - 5} more` : '';
    const offers = titles.length === 0 ? 'no models' : `${titles.slice(0, 5).join(', ')}${more}`;
    return { ok: false, message: `expected ${model} at ${host}: it is not listed; it lists ${offers}` };
  }
  const draws = model ?? (await loadedModel(server, signal));
  const progress = (await look(server, 'mullion-probe', 'none', signal)) === 'absent' ? ', without progress' : '';
  return { ok: true, message: `${host} draws with ${draws ?? 'the model that is loaded there'}${progress}` };
}

/** The checkpoints, each with all names that it can be asked for by; undefined = there is no such list. */
async function modelsOf(server: A1111Server, signal: AbortSignal): Promise<{ names: string[] }[] | undefined> {
  try {
    const list = await get(server, '/sdapi/v1/sd-models', signal);
    return Array.isArray(list) ? list.map((entry: unknown) => ({ names: namesOf(entry) })) : undefined;
  } catch (error) {
    if (error instanceof ProviderError && error.code === 'bad_request') return undefined;
    throw error;
  }
}

/** A title is `folder/name.safetensors [hash]`; the backend finds it by less than that, too. */
function namesOf(entry: unknown): string[] {
  const title = field(entry, 'title');
  const name = field(entry, 'model_name');
  const file = typeof title === 'string' ? title.replace(/ \[[0-9a-f]+\]$/, '') : undefined;
  const bare = file?.split(/[\\/]/).at(-1);
  return [title, name, file, bare, bare?.replace(/\.[^.]+$/, '')].filter((text) => typeof text === 'string');
}

async function loadedModel(server: A1111Server, signal: AbortSignal): Promise<string | undefined> {
  try {
    const name = field(await get(server, '/sdapi/v1/options', signal), 'sd_model_checkpoint');
    return typeof name === 'string' && name !== '' ? name : undefined;
  } catch (error) {
    // Some servers of this family have no options; the list has shown that it is one.
    if (error instanceof ProviderError) return undefined;
    throw error;
  }
}

function get({ backend }: A1111Server, path: string, signal: AbortSignal): Promise<unknown> {
  return httpJson(backend, { method: 'GET', path, maxBytes: maxListBytes, signal });
}
