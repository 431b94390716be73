import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ComfyuiImageOptions } from '../../src/adapters/comfyui-image.ts';
import { probeComfyui } from '../../src/adapters/comfyui-probe.ts';
import type { Probe } from '../../src/ports/models.ts';
import { startFakeComfyui, type FakeComfyui } from '../support/fake-comfyui.ts';
import { startHostileServer } from '../support/hostile-server.ts';
import { cases } from '../support/hostile-cases.ts';
import { SimClock } from '../support/sim-clock.ts';
import { until } from './comfyui-bench.ts';

let server: FakeComfyui;
const clock = new SimClock();

beforeEach(async () => {
  server = await startFakeComfyui();
});
afterEach(() => server.close());

const probe = (options: Partial<ComfyuiImageOptions> = {}): Promise<Probe> =>
  probeComfyui({ baseUrl: server.origin, checkpoint: 'sd15.safetensors', clock, ...options });

const workflow = {
  '1': { class_type: 'CLIPTextEncode', inputs: { text: '{{prompt}}' } },
  '2': { class_type: 'UltraSampler', inputs: {} },
};

describe('[I24] the probe', () => {
  test('says what works, and draws nothing', async () => {
    expect(await probe()).toEqual({ ok: true, message: `ComfyUI 0.3.64 at ${server.origin} can run sd15.safetensors` });
    expect(server.jobs).toEqual([]);
    expect(server.requests.every(({ method }) => method === 'GET')).toBe(true);
    expect(clock.pending).toBe(0);
  });

  test('a checkpoint that is not there: what is', async () => {
    server.checkpoints = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
    expect(await probe()).toEqual({
      ok: false,
      message: `expected the checkpoint sd15.safetensors at ComfyUI 0.3.64 at ${server.origin}: it has a, b, c, d, e and 2 more`,
    });
    server.checkpoints = [];
    expect(await probe()).toMatchObject({ ok: false, message: expect.stringMatching(/: it has none$/) });
  });

  test('a workflow with node types that it does not know, and once it does', async () => {
    expect(await probe({ workflow, checkpoint: undefined })).toEqual({
      ok: false,
      message: `expected the workflow's node types at ComfyUI 0.3.64 at ${server.origin}: it does not know UltraSampler`,
    });
    server.nodeTypes.add('UltraSampler');
    expect(await probe({ workflow, checkpoint: undefined })).toMatchObject({
      ok: true,
      message: expect.stringMatching(/can run the workflow$/),
    });
  });

  test('a newer server lists choices in another shape', async () => {
    const hostile = await startHostileServer();
    hostile.script(async (exchange) => {
      const [, root, name = ''] = exchange.path.split('/');
      const input = { required: { ckpt_name: ['COMBO', { options: ['sd15.safetensors'] }] } };
      await cases.json(root === 'system_stats' ? { system: {} } : { [name]: { input } })(exchange);
    });
    const at = { baseUrl: hostile.origin };
    expect(await probe(at)).toEqual({ ok: true, message: `ComfyUI at ${hostile.origin} can run sd15.safetensors` });
    expect(await probe({ ...at, checkpoint: 'sd14' })).toMatchObject({
      ok: false,
      message: expect.stringMatching(/expected the checkpoint sd14 .*: it has sd15\.safetensors$/),
    });
    await hostile.close();
  });

  test('another server, a refusal, nobody there, a bad configuration', async () => {
    const secret = 'Bearer abcdefgh12345678';
    const hostile = await startHostileServer();
    const at = { baseUrl: hostile.origin, headers: { authorization: secret } };
    hostile.script(cases.json({ object: 'list' }), cases.html(200), cases.json({ detail: `bad ${secret}` }, 401));
    expect(await probe(at)).toMatchObject({ ok: false, message: expect.stringContaining('got other JSON') });
    expect(await probe(at)).toMatchObject({ ok: false, message: expect.stringContaining('expected JSON') });
    const refused = await probe(at);
    expect(refused).toMatchObject({ ok: false, message: expect.stringContaining('HTTP 401') });
    expect(refused.message).not.toContain('abcdefgh12345678');
    await hostile.close();
    expect(await probe(at)).toMatchObject({ ok: false, message: expect.stringContaining('no connection') });
    expect(await probe({ size: 'big' })).toMatchObject({ ok: false, message: expect.stringMatching(/^size: /) });
  });

  test('takes no longer than its bound', async () => {
    server.http = 'hang';
    let result: Probe | undefined;
    probe().then(
      (answer) => (result = answer),
      () => undefined,
    );
    await until(clock, 'the question', () => server.requests.length === 1, 0);
    await clock.advance(4999);
    expect(result).toBeUndefined();
    await clock.advance(1);
    await until(clock, 'the answer', () => result !== undefined, 0);
    expect(result).toEqual({ ok: false, message: `expected an answer of ${server.origin} within 5000 ms, none came` });
    await until(clock, 'all closed', () => server.open === 0, 0);
  });
});
