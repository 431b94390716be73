import type { Probe } from '../ports/models.ts';
import { getJson, type Bounds } from './comfyui-client.ts';
import { comfyuiSettings, type ComfyuiImageOptions, type ComfyuiSettings } from './comfyui-image.ts';
import { scrubbed } from './http-json.ts';
import { cleanMessage, field, providerError } from './openai-errors.ts';

/** Longest that one engine's check may take. */
const defaultBoundMs = 5000;
const checkpointLoader = 'CheckpointLoaderSimple';

/**
 * Whether a ComfyUI server can run the workflow: it answers, knows the workflow's node types and has the checkpoint. It draws nothing.
 * Never rejects.
 */
export async function probeComfyui(options: ComfyuiImageOptions, boundMs: number = defaultBoundMs): Promise<Probe> {
  let settings: ComfyuiSettings;
  try {
    settings = comfyuiSettings(options);
  } catch (error) {
    return { ok: false, message: error instanceof Error ? error.message : 'the configuration is bad' };
  }
  const { backend } = settings;
  const controller = new AbortController();
  const timer = backend.clock.setTimeout(() => controller.abort(), boundMs);
  try {
    const { ok, message } = await check(settings, { signal: controller.signal });
    return { ok, message: cleanMessage(scrubbed(backend, message), '') };
  } catch (error) {
    if (controller.signal.aborted) {
      return { ok: false, message: `expected an answer of ${backend.upstream.host} within ${boundMs} ms, none came` };
    }
    return { ok: false, message: error instanceof Error ? error.message : 'the check failed' };
  } finally {
    backend.clock.clearTimeout(timer);
  }
}

async function check({ backend, workflow, values }: ComfyuiSettings, bounds: Bounds): Promise<Probe> {
  const { host } = backend.upstream;
  const stats = field(await getJson(backend, '/system_stats', bounds), 'system');
  if (stats === undefined) {
    throw providerError(
      backend.upstream,
      'provider',
      `expected GET /system_stats of ComfyUI at ${host}, got other JSON`,
    );
  }
  const version = field(stats, 'comfyui_version');
  const name = typeof version === 'string' ? `ComfyUI ${version} at ${host}` : `ComfyUI at ${host}`;
  const unknown: string[] = [];
  let listed: string[] | undefined;
  for (const type of workflow.nodeTypes) {
    const info = field(await getJson(backend, `/object_info/${encodeURIComponent(type)}`, bounds), type);
    if (info === undefined) unknown.push(type);
    else if (type === checkpointLoader) listed = checkpointsOf(info);
  }
  if (unknown.length > 0) {
    return { ok: false, message: `expected the workflow's node types at ${name}: it does not know ${some(unknown)}` };
  }
  if (workflow.slots.has('checkpoint') && listed !== undefined && !listed.includes(values.checkpoint)) {
    const offers = listed.length === 0 ? 'it has none' : `it has ${some(listed)}`;
    return { ok: false, message: `expected the checkpoint ${values.checkpoint} at ${name}: ${offers}` };
  }
  const what = values.checkpoint === '' ? 'the workflow' : values.checkpoint;
  return { ok: true, message: `${name} can run ${what}` };
}

/** The input is `[[names…]]`, in newer servers `["COMBO", {options: [names…]}]`; undefined = another shape. */
function checkpointsOf(info: unknown): string[] | undefined {
  const input = field(field(field(info, 'input'), 'required'), 'ckpt_name');
  const names = Array.isArray(field(input, 0)) ? field(input, 0) : field(field(input, 1), 'options');
  return Array.isArray(names) ? names.filter((name) => typeof name === 'string') : undefined;
}

function some(names: readonly string[]): string {
  const more = names.length > 5 ? ` and ${names.length - 5} more` : '';
  return `${names.slice(0, 5).join(', ')}${more}`;
}
