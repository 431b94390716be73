import { createHash } from 'node:crypto';
import { canonicalJson } from '../protocol/canonical.ts';
import type { Json, JsonObject } from '../protocol/records.ts';

/** What the slots of a workflow are filled with. */
export interface SlotValues {
  readonly prompt: string;
  readonly negative: string;
  readonly seed: number;
  readonly width: number;
  readonly height: number;
  readonly steps: number;
  readonly cfg: number;
  readonly sampler: string;
  readonly scheduler: string;
  readonly checkpoint: string;
}

/** A checked workflow. */
export interface Workflow {
  /** The slots that it has. */
  readonly slots: ReadonlySet<string>;
  /** The node types that it needs, sorted. */
  readonly nodeTypes: readonly string[];
  /** Ids of the nodes whose progress counts: its samplers; undefined = it has none that is called so, any node's counts. */
  readonly samplers: ReadonlySet<string> | undefined;
  /** The type of a node, for messages. */
  nodeType(id: string): string | undefined;
  /** The graph to send. What is filled in is data: a slot in it stays text. */
  graphOf(values: SlotValues): JsonObject;
}

const slotNames: ReadonlySet<string> = new Set([
  'prompt',
  'negative',
  'seed',
  'width',
  'height',
  'steps',
  'cfg',
  'sampler',
  'scheduler',
  'checkpoint',
] satisfies (keyof SlotValues)[]);

/** The smallest graph that makes a picture of a checkpoint and a text. */
export const textToImage: JsonObject = {
  '1': { class_type: 'CheckpointLoaderSimple', inputs: { ckpt_name: '{{checkpoint}}' } },
  '2': { class_type: 'CLIPTextEncode', inputs: { text: '{{prompt}}', clip: ['1', 1] } },
  '3': { class_type: 'CLIPTextEncode', inputs: { text: '{{negative}}', clip: ['1', 1] } },
  '4': { class_type: 'EmptyLatentImage', inputs: { width: '{{width}}', height: '{{height}}', batch_size: 1 } },
  '5': {
    class_type: 'KSampler',
    inputs: {
      seed: '{{seed}}',
      steps: '{{steps}}',
      cfg: '{{cfg}}',
      sampler_name: '{{sampler}}',
      scheduler: '{{scheduler}}',
      denoise: 1,
      model: ['1', 0],
      positive: ['2', 0],
      negative: ['3', 0],
      latent_image: ['4', 0],
    },
  },
  '6': { class_type: 'VAEDecode', inputs: { samples: ['5', 0], vae: ['1', 2] } },
  '7': { class_type: 'SaveImage', inputs: { images: ['6', 0], filename_prefix: 'mullion' } },
};

/** Checks a workflow in ComfyUI's API format; throws a TypeError that says what is wrong with it. */
export function workflowOf(graph: JsonObject): Workflow {
  const types = nodeTypesOf(graph);
  const slots = slotsOf(graph);
  for (const name of slots) {
    if (!slotNames.has(name)) {
      throw new TypeError(`workflow: unknown slot {{${name}}}; known are ${[...slotNames].join(', ')}`);
    }
  }
  if (!slots.has('prompt')) {
    throw new TypeError('workflow: has no {{prompt}}; write it where the text of the picture goes');
  }
  const samplers = new Set([...types].filter(([, type]) => /sampler/i.test(type)).map(([id]) => id));
  return {
    slots,
    nodeTypes: [...new Set(types.values())].sort(),
    samplers: samplers.size === 0 ? undefined : samplers,
    nodeType: (id) => types.get(id),
    graphOf: (values) => mapped(graph, (text) => filled(text, values)),
  };
}

/** The seed that a backend is given for one of ours. 32 bits: more than that some samplers refuse. */
export function seedNumber(seed: string): number {
  return createHash('sha256').update(seed).digest().readUInt32BE(0);
}

/** A short name of everything that decides how a picture looks, prompt and seed aside. */
export function recipeName(graph: JsonObject, values: SlotValues): string {
  const recipe = canonicalJson({ graph, values: { ...values, prompt: '', seed: 0 } });
  return createHash('sha256').update(recipe).digest('hex').slice(0, 16);
}

function nodeTypesOf(graph: JsonObject): Map<string, string> {
  if (Array.isArray(graph['nodes']) || Array.isArray(graph['links'])) {
    throw new TypeError(
      'workflow: this is the format of the editor (it has "nodes" and "links"); expected the API format: Workflow > Export (API)',
    );
  }
  const types = new Map<string, string>();
  for (const [id, node] of Object.entries(graph)) {
    const type = isObject(node) && isObject(node['inputs']) ? node['class_type'] : undefined;
    if (typeof type !== 'string') {
      throw new TypeError(`workflow: expected class_type and inputs in node ${JSON.stringify(id.slice(0, 40))}`);
    }
    types.set(id, type);
  }
  return types;
}

// A fresh one a call: `g` expressions have a memory.
const slotPattern = (): RegExp => /\{\{\s*([A-Za-z_][\w-]*)\s*\}\}/g;

function slotsOf(graph: JsonObject): Set<string> {
  const slots = new Set<string>();
  mapped(graph, (text) => {
    for (const [, name = ''] of text.matchAll(slotPattern())) slots.add(name);
    return text;
  });
  return slots;
}

/** A string that is one slot becomes its value, a number where it is one; inside a longer string its text. One pass: values are not read again. */
function filled(text: string, values: SlotValues): Json {
  const byName: Record<string, string | number> = { ...values };
  const [whole] = text.matchAll(slotPattern());
  if (whole !== undefined && whole[0] === text) return byName[whole[1] ?? ''] ?? text;
  return text.replace(slotPattern(), (slot: string, name: string) => String(byName[name] ?? slot));
}

function mapped(value: JsonObject, change: (text: string) => Json): JsonObject {
  // fromEntries defines, never assigns: a node called __proto__ stays one.
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, mappedValue(member, change)]));
}

function mappedValue(value: Json, change: (text: string) => Json): Json {
  if (typeof value === 'string') return change(value);
  if (Array.isArray(value)) return value.map((item) => mappedValue(item, change));
  return isObject(value) ? mapped(value, change) : value;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
