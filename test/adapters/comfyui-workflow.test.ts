import { describe, expect, test } from 'vitest';
import * as fc from 'fast-check';
import { comfyuiImage } from '../../src/adapters/comfyui-image.ts';
import { seedNumber, textToImage, workflowOf, type SlotValues } from '../../src/adapters/comfyui-workflow.ts';
import type { JsonObject } from '../../src/protocol/records.ts';

const values: SlotValues = {
  prompt: 'a lighthouse',
  negative: 'blurry',
  seed: 7,
  width: 640,
  height: 480,
  steps: 12,
  cfg: 3.5,
  sampler: 'euler',
  scheduler: 'karras',
  checkpoint: 'sd15.safetensors',
};

/** A workflow of one node with these inputs beside the prompt. */
const graphOf = (inputs: JsonObject): JsonObject => ({
  '1': { class_type: 'X', inputs: { text: '{{prompt}}', ...inputs } },
});

function filledInputs(inputs: JsonObject, more: Partial<SlotValues> = {}): unknown {
  const graph = workflowOf(graphOf(inputs)).graphOf({ ...values, ...more });
  const [node] = Object.values(graph);
  return typeof node === 'object' && node !== null && !Array.isArray(node) ? node['inputs'] : undefined;
}

describe('[I20] slots', () => {
  test('the built-in graph has every slot, and is filled with numbers where numbers belong', () => {
    expect([...workflowOf(textToImage).slots].sort()).toEqual(Object.keys(values).sort());
    const graph = workflowOf(textToImage).graphOf(values);
    expect(JSON.stringify(graph)).not.toContain('{{');
    expect(graph['5']).toMatchObject({
      inputs: { seed: 7, steps: 12, cfg: 3.5, sampler_name: 'euler', scheduler: 'karras', positive: ['2', 0] },
    });
    expect(graph['4']).toMatchObject({ inputs: { width: 640, height: 480, batch_size: 1 } });
    expect(graph['1']).toMatchObject({ inputs: { ckpt_name: 'sd15.safetensors' } });
  });

  test('a slot in a longer text is filled in as text, also twice, also with spaces, also deep inside', () => {
    const inputs = {
      long: 'photo of {{prompt}}, {{ prompt }}; seed {{seed}}',
      deep: [{ a: ['{{width}}', '{{height}}px'] }],
    };
    expect(filledInputs(inputs)).toEqual({
      text: 'a lighthouse',
      long: 'photo of a lighthouse, a lighthouse; seed 7',
      deep: [{ a: [640, '480px'] }],
    });
  });

  test('what is no slot stays: numbers, links, braces of other kinds, keys', () => {
    const inputs: JsonObject = {
      n: 1,
      b: true,
      nothing: null,
      link: ['2', 0],
      x: '{a|b} {{a|b}} {{}} {{',
      '{{seed}}': 1,
    };
    expect(filledInputs(inputs)).toEqual({ text: 'a lighthouse', ...inputs });
  });

  test('a prompt is data: whatever is in it comes out as it is, and nothing else changes', () => {
    const piece = fc.constantFrom(
      '{{seed}}',
      '{{prompt}}',
      '{{nope}}',
      '"',
      '\\',
      '$&',
      "$'",
      '}}',
      '{{',
      '\n',
      '\u{1F5FC}',
    );
    const nasty = fc
      .array(fc.oneof(piece, fc.string({ unit: 'binary' })), { maxLength: 5 })
      .map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(nasty, nasty, (prompt, negative) => {
        const filled = filledInputs({ long: '<{{prompt}}|{{negative}}>', seed: '{{seed}}' }, { prompt, negative });
        expect(filled).toEqual({ text: prompt, long: `<${prompt}|${negative}>`, seed: 7 });
        expect(JSON.parse(JSON.stringify(filled))).toEqual(filled);
      }),
    );
  });

  test('a node called __proto__ is a node', () => {
    const text = '{"__proto__":{"class_type":"X","inputs":{"text":"{{prompt}}"}}}';
    const graph: JsonObject = JSON.parse(text);
    expect(JSON.stringify(workflowOf(graph).graphOf(values))).toBe(text.replace('{{prompt}}', 'a lighthouse'));
  });

  test('the graph of the configuration is not changed', () => {
    const before = JSON.stringify(textToImage);
    workflowOf(textToImage).graphOf(values);
    expect(JSON.stringify(textToImage)).toBe(before);
  });

  test.each<[string, JsonObject, RegExp]>([
    ['no {{prompt}}', { '1': { class_type: 'X', inputs: { text: '{{negative}}' } } }, /has no \{\{prompt\}\}/],
    [
      'a slot nobody knows',
      graphOf({ lora: '{{lora}}' }),
      /unknown slot \{\{lora\}\}; known are prompt, negative, seed/,
    ],
    ["the editor's format", { nodes: [], links: [], version: 0.4 }, /format of the editor.*Export \(API\)/],
    ['a body of POST /prompt', { prompt: graphOf({}) }, /expected class_type and inputs in node "prompt"/],
    [
      'a node without a type',
      { '1': { inputs: { text: '{{prompt}}' } } },
      /expected class_type and inputs in node "1"/,
    ],
    ['a node without inputs', { '1': { class_type: 'X' } }, /expected class_type and inputs/],
    ['a node that is a list', { '1': [] }, /expected class_type and inputs/],
    ['nothing', {}, /has no \{\{prompt\}\}/],
  ])('%s is refused at construction', (_, workflow, message) => {
    const make = (): unknown => comfyuiImage({ baseUrl: 'http://127.0.0.1:8188', checkpoint: 'x', workflow });
    expect(make).toThrow(TypeError);
    expect(make).toThrow(message);
  });

  test('a workflow without {{checkpoint}} needs none', () => {
    const baseUrl = 'http://127.0.0.1:8188';
    expect(() => comfyuiImage({ baseUrl, workflow: graphOf({}) })).not.toThrow();
    expect(() => comfyuiImage({ baseUrl, workflow: graphOf({ c: '{{checkpoint}}' }) })).toThrow(/^checkpoint: /);
  });
});

test('seeds: the same text the same number, 32 bits', () => {
  expect(seedNumber('a')).toBe(seedNumber('a'));
  expect(seedNumber('a')).not.toBe(seedNumber('b'));
  fc.assert(
    fc.property(fc.string(), (seed) => {
      const number = seedNumber(seed);
      return Number.isInteger(number) && number >= 0 && number < 2 ** 32;
    }),
  );
});

test('progress counts the samplers where there are some', () => {
  const sampler = { '9': { class_type: 'SamplerCustomAdvanced', inputs: {} } };
  expect(workflowOf({ ...graphOf({}), ...sampler }).samplers).toEqual(new Set(['9']));
  expect(workflowOf(graphOf({})).samplers).toBeUndefined();
});
