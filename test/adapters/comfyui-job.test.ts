import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { comfyuiImage } from '../../src/adapters/comfyui-image.ts';
import { settleMs, type ImageModel } from '../../src/ports/models.ts';
import { preview } from '../support/fake-comfyui.ts';
import { png } from '../support/hostile-cases.ts';
import { jpg } from '../support/pictures.ts';
import { SimClock } from '../support/sim-clock.ts';
import { call, errorOf, openComfyui, pictureOf, tick, until, type Call, type ComfyuiBench } from './comfyui-bench.ts';

const job = '0197a5b0-0000-7000-8000-00000000abcd';
const reason = new Error('superseded');
let bench: ComfyuiBench;

beforeEach(async () => {
  bench = await openComfyui();
});
afterEach(() => bench.dispose());

const ours = (): ComfyuiBench['server']['jobs'] => bench.server.jobs.filter((seen) => !seen.foreign);
const posts = (path: string): number =>
  bench.server.requests.filter((r) => r.method === 'POST' && r.path === path).length;
const asked = (path: string): number => bench.server.requests.filter((r) => r.path.startsWith(path)).length;
const state = (made: { id: string }): string | undefined => bench.server.jobs.find(({ id }) => id === made.id)?.state;
const runs = (): Promise<void> => until(bench.clock, 'it runs', () => ours().at(-1)?.state === 'running');
const sees = (text: string): unknown => expect.stringContaining(text);
/** Time for what is on its way to arrive, none for timers. */
async function calm(): Promise<void> {
  for (let i = 0; i < 12; i += 1) await tick();
}

/** Another process with the same configuration, its clock its own. */
function restarted(): { model: ImageModel; clock: SimClock } {
  const clock = new SimClock();
  const options = { baseUrl: bench.server.origin, checkpoint: 'sd15.safetensors', clock };
  return { model: comfyuiImage(options), clock };
}

describe('[I21] a job survives our restart', () => {
  test.each(['running', 'queued'])('one that is %s is found and waited for', async (where) => {
    const other = where === 'queued' ? bench.server.foreign(1) : undefined;
    bench.server.script('it', { do: 'draw', steps: 3, bytes: jpg });
    call(bench.model, { job });
    await until(bench.clock, where, () => ours()[0]?.state === where);
    // Our process is gone: its sockets are closed, its clock stands still.
    bench.cutSockets();
    const { model, clock } = restarted();
    const again = call(model, { job: job.toUpperCase() });
    await until(clock, 'it listens', () => bench.server.connected.length === 2);
    if (other !== undefined) bench.step(2);
    bench.step(2);
    await until(clock, 'progress', () => again.progress.length === 2);
    bench.step(2);
    expect(await pictureOf(clock, again)).toEqual({ bytes: jpg, extension: 'jpg' });
    expect(ours()).toMatchObject([{ id: job, clientId: job }]);
    expect(again.progress).toEqual(['1/3 step', '2/3 step', '3/3 step']);
  });

  test('one that has ended meanwhile is fetched at once, without a socket', async () => {
    bench.server.script('it', { do: 'draw', steps: 1, bytes: jpg });
    call(bench.model, { job });
    await runs();
    bench.cutSockets();
    bench.step(2);
    const { model, clock } = restarted();
    expect(await pictureOf(clock, call(model, { job }))).toEqual({ bytes: jpg, extension: 'jpg' });
    expect(bench.server.connected).toEqual([job]);
    expect(ours()).toHaveLength(1);
  });

  test('one that failed or was interrupted is given anew, under a name that the next restart finds', async () => {
    bench.server.script('it', { do: 'node-fails', message: 'out of memory' }, { do: 'draw', steps: 1 });
    await errorOf(bench.clock, call(bench.model, { job }));
    const second = call(bench.model, { job });
    await runs();
    bench.server.interruptByOther();
    await errorOf(bench.clock, second);
    call(bench.model, { job });
    await runs();
    bench.cutSockets();
    const { model, clock } = restarted();
    const again = call(model, { job });
    await calm();
    bench.step(2);
    await pictureOf(clock, again);
    const ids = ours().map(({ id }) => id);
    expect(ids).toHaveLength(3);
    expect(new Set(ids).size).toBe(3);
    expect(ids[0]).toBe(job);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  });

  test('eight failed tries are remembered, from then on the last name is used again', async () => {
    bench.server.script('it', { do: 'node-fails', message: 'no' });
    for (let i = 0; i < 9; i += 1) await errorOf(bench.clock, call(bench.model, { job }));
    expect(new Set(ours().map(({ id }) => id)).size).toBe(9);
    bench.server.script('it', { do: 'draw' });
    await pictureOf(bench.clock, call(bench.model, { job }));
    expect(new Set(ours().map(({ id }) => id)).size).toBe(9);
    expect(ours()).toHaveLength(10);
  });

  test('a server that gives its own ids is asked by client id', async () => {
    bench.server.old = true;
    bench.server.script('it', { do: 'draw', steps: 2, bytes: jpg });
    call(bench.model, { job });
    await runs();
    bench.cutSockets();
    const { model, clock } = restarted();
    const again = call(model, { job });
    await until(clock, 'it listens', () => bench.server.connected.length === 2);
    bench.step();
    await until(clock, 'progress', () => again.progress.length === 1);
    bench.step(2);
    expect(await pictureOf(clock, again)).toEqual({ bytes: jpg, extension: 'jpg' });
    expect(ours()).toHaveLength(1);
    expect(ours()[0]?.id).not.toBe(job);
  });

  test('one whose answer was lost is followed all the same', async () => {
    bench.server.script('it', { do: 'answer-lost' });
    await pictureOf(bench.clock, call(bench.model));
    expect(ours()).toHaveLength(1);
  });

  test('a name that is no UUID is not used; without a name nobody is asked before', async () => {
    await pictureOf(bench.clock, call(bench.model, { job: '../x' }));
    await pictureOf(bench.clock, call(bench.model));
    expect(new Set(ours().map(({ id }) => id)).size).toBe(2);
    const paths = bench.server.requests.map(({ path }) => path.split('?')[0]?.replace(/[0-9a-f-]{36}/, 'ID'));
    const once = ['/ws', '/prompt', '/queue', '/history/ID', '/view'];
    expect(paths).toEqual([...once, ...once]);
  });
});

describe("[I22] nobody else's job is interrupted", () => {
  /** Ours runs, and the call is aborted. */
  async function abortRunning(): Promise<Call> {
    bench.server.script('it', { do: 'draw', steps: 2 });
    const made = call(bench.model);
    await runs();
    await until(bench.clock, 'it listens', () => asked('/queue') > 0);
    return made;
  }

  test('when ours ends between the question and the interrupt', async () => {
    const made = await abortRunning();
    const other = bench.server.foreign(3);
    bench.server.onRequest = ({ path }) => path === '/interrupt' && bench.step(3);
    made.abort(reason);
    await until(bench.clock, 'settled', () => made.outcome !== undefined);
    expect(made.outcome).toEqual({ error: reason });
    expect(bench.interrupts).toEqual(['']);
    expect(state(other)).toBe('running');
  });

  test.each([false, true])('when ours ends between the two questions (old server: %s)', async (old) => {
    bench.server.old = old;
    const made = await abortRunning();
    const before = asked('/queue');
    bench.server.onRequest = () => {
      if (asked('/queue') !== before + 2 || bench.server.jobs.length > 1) return;
      bench.step(3);
      bench.server.foreign(3);
    };
    made.abort(reason);
    await until(bench.clock, 'settled', () => made.outcome !== undefined);
    expect(made.outcome).toEqual({ error: reason });
    expect(posts('/interrupt')).toBe(0);
    expect(bench.server.jobs.map((seen) => seen.state)).toEqual(['ended', 'running']);
  });

  test('on an old server ours goes on while others wait', async () => {
    bench.server.old = true;
    const made = await abortRunning();
    const other = bench.server.foreign(1);
    made.abort(reason);
    await until(bench.clock, 'it was looked at', () => asked('/queue') > 6);
    expect(made.outcome).toBeUndefined();
    expect(posts('/interrupt')).toBe(0);
    bench.step(3);
    await until(bench.clock, 'settled', () => made.outcome !== undefined);
    expect(made.outcome).toEqual({ error: reason });
    expect(state(other)).toBe('running');
  });

  test('on an old server with nobody else ours is interrupted, by the id that the server gave it', async () => {
    bench.server.old = true;
    const made = await abortRunning();
    made.abort(reason);
    await until(bench.clock, 'settled', () => made.outcome !== undefined);
    expect(bench.interrupts).toEqual([ours()[0]?.id]);
    expect(ours()).toMatchObject([{ state: 'stopped' }]);
  });

  test('an interrupt that got lost is sent again, after a pause', async () => {
    const made = await abortRunning();
    bench.deafen();
    made.abort(reason);
    await until(bench.clock, 'an interrupt', () => posts('/interrupt') === 1, 0);
    await calm();
    await bench.clock.advance(499);
    await calm();
    expect(posts('/interrupt')).toBe(1);
    await bench.clock.advance(1);
    await until(bench.clock, 'another', () => posts('/interrupt') === 2, 0);
    // Nobody listens any more.
    bench.step();
    await calm();
    expect(made.progress).toEqual([]);
    bench.step(3);
    await until(bench.clock, 'settled', () => made.outcome !== undefined);
  });
});

describe('an abort while the job waits', () => {
  test('takes it out of the queue, and no time passes', async () => {
    const other = bench.server.foreign(2);
    const made = call(bench.model, { job });
    await until(bench.clock, 'it waits', () => ours()[0]?.state === 'queued');
    made.abort(reason);
    await until(bench.clock, 'settled', () => made.outcome !== undefined, 0);
    expect(made.outcome).toEqual({ error: reason });
    expect(ours()).toMatchObject([{ state: 'removed' }]);
    expect(bench.interrupts).toEqual([job]);
    expect(posts('/interrupt')).toBe(0);
    expect(state(other)).toBe('running');
  });
});

describe('an abort while the job is given', () => {
  test('does not settle before the server has taken the job, and given it up again', async () => {
    bench.server.script('it', { do: 'take-late' });
    const made = call(bench.model, { job });
    await until(bench.clock, 'the job', () => posts('/prompt') === 1, 0);
    made.abort(reason);
    await calm();
    expect(made.outcome).toBeUndefined();
    bench.server.takeLate();
    await until(bench.clock, 'settled', () => made.outcome !== undefined, 0);
    expect(made.outcome).toEqual({ error: reason });
    expect(ours()).toMatchObject([{ state: 'stopped' }]);
  });

  test('waits for the answer, then takes the job back', async () => {
    bench.server.script('it', { do: 'draw', steps: 2 });
    const made = call(bench.model);
    bench.server.onRequest = ({ path }) => path === '/prompt' && made.abort(reason);
    await until(bench.clock, 'settled', () => made.outcome !== undefined);
    expect(made.outcome).toEqual({ error: reason });
    expect(ours()).toMatchObject([{ state: 'stopped' }]);
  });

  test(`settles after ${settleMs} ms when the server says nothing any more`, async () => {
    const made = call(bench.model, { job });
    bench.server.onRequest = ({ path }) => {
      if (path !== '/prompt') return;
      bench.server.http = 'hang';
      made.abort(reason);
    };
    await until(bench.clock, 'the abort', () => bench.server.http === 'hang', 0);
    await calm();
    await bench.clock.advance(settleMs - 1);
    expect(made.outcome).toBeUndefined();
    await bench.clock.advance(1);
    expect(made.outcome).toEqual({ error: reason });
    await until(bench.clock, 'all closed', () => bench.server.open === 0);
    expect(bench.clock.pending).toBe(0);
  });

  test('settles at once when nothing listens there any more: the queue died with the process', async () => {
    bench.server.script('it', { do: 'draw', steps: 2 });
    const made = call(bench.model);
    await runs();
    await calm();
    await bench.server.close();
    made.abort(reason);
    await until(bench.clock, 'settled', () => made.outcome !== undefined, 0);
    expect(made.outcome).toEqual({ error: reason });
    bench = await openComfyui();
  });
});

describe('[I23] a job goes on without its socket', () => {
  test('it is asked for each second once the socket has dropped', async () => {
    bench.server.script('it', { do: 'draw', steps: 2, bytes: jpg });
    const made = call(bench.model);
    await runs();
    await calm();
    const looked = asked('/queue');
    bench.cutSockets();
    await until(bench.clock, 'it looks at once', () => asked('/queue') > looked, 0);
    await calm();
    const before = asked('/queue');
    await bench.clock.advance(999);
    await calm();
    expect(asked('/queue')).toBe(before);
    await bench.clock.advance(1);
    await until(bench.clock, 'the poll', () => asked('/queue') === before + 1, 0);
    bench.step(3);
    expect(await pictureOf(bench.clock, made)).toEqual({ bytes: jpg, extension: 'jpg' });
  });

  test('with the socket it is asked for every 10 s, since frames get lost, too', async () => {
    bench.server.script('it', { do: 'draw', steps: 2 });
    const made = call(bench.model, { job });
    await runs();
    await calm();
    // Somebody else has taken our client id.
    const thief = restarted();
    const stolen = call(thief.model, { job });
    await until(thief.clock, 'it listens', () => bench.server.connected.length === 2);
    bench.step(3);
    await pictureOf(thief.clock, stolen);
    await bench.clock.advance(9000);
    await calm();
    expect(made.outcome).toBeUndefined();
    await bench.clock.advance(1000);
    await pictureOf(bench.clock, made);
  });

  test('a server that refuses the socket still draws', async () => {
    bench.server.sockets = 'refuse';
    bench.server.script('it', { do: 'draw', steps: 1 });
    const made = call(bench.model);
    await runs();
    bench.step(2);
    await pictureOf(bench.clock, made);
    expect(made.progress).toEqual([]);
    expect(made.heard).toBeGreaterThan(2);
  });

  test('one that does not answer the handshake gets the job after 5 s', async () => {
    bench.server.sockets = 'hang';
    const made = call(bench.model);
    await until(bench.clock, 'the handshake', () => asked('/ws') === 1, 0);
    await bench.clock.advance(4999);
    await calm();
    expect(ours()).toEqual([]);
    await bench.clock.advance(1);
    await pictureOf(bench.clock, made);
  });

  test('a frame of 8 MiB is taken, a larger one ends the socket, not the job', async () => {
    bench.server.script('it', { do: 'draw', steps: 2 });
    const made = call(bench.model);
    await runs();
    await until(bench.clock, 'it listens', () => asked('/queue') > 0);
    bench.server.tell(Buffer.alloc(8 * 1024 * 1024));
    await calm();
    bench.step();
    await until(bench.clock, 'progress', () => made.progress.length === 1, 0);
    bench.server.tell(Buffer.alloc(8 * 1024 * 1024 + 1));
    await until(bench.clock, 'closed', () => bench.server.open === 0, 0);
    bench.step(2);
    await pictureOf(bench.clock, made);
    expect(made.progress).toEqual(['1/2 step']);
  });

  test('19 polls without an answer are borne, with the 20th the call fails', async () => {
    for (const failing of [19, 20]) {
      bench.server.http = 'answer';
      bench.server.script('it', { do: 'draw', steps: 1 });
      const made = call(bench.model);
      await runs();
      await calm();
      bench.cutSockets();
      bench.server.http = 'refuse-503';
      const before = asked('/queue');
      for (let poll = 1; poll <= failing; poll += 1) {
        await bench.clock.advance(1000);
        await until(bench.clock, 'the poll', () => asked('/queue') === before + poll, 0);
        await tick();
      }
      await calm();
      bench.server.http = 'answer';
      bench.step(2);
      if (failing === 19) await pictureOf(bench.clock, made);
      else expect(await errorOf(bench.clock, made)).toMatchObject({ code: 'provider', retryable: true });
    }
  });
});

describe('what is heard', () => {
  test('a job that is done but not yet in the history is fetched as soon as it is there', async () => {
    bench.server.slowEnd = true;
    bench.server.script('it', { do: 'draw', steps: 1, bytes: jpg });
    const made = call(bench.model);
    await runs();
    await until(bench.clock, 'it listens', () => asked('/queue') > 0);
    bench.step(2);
    await until(bench.clock, 'the picture', () => made.outcome !== undefined, 0);
    expect(await pictureOf(bench.clock, made)).toEqual({ bytes: jpg, extension: 'jpg' });
  });

  test("[I22] nothing of somebody's job that everybody is told of", async () => {
    const other = bench.server.foreign(3, { silent: true, previews: [png] });
    const made = call(bench.model);
    await until(bench.clock, 'it waits', () => ours().length === 1);
    bench.step(2);
    await calm();
    expect(bench.server.said).toHaveLength(2);
    expect(made).toMatchObject({ progress: [], previews: [] });
    bench.step(2);
    await pictureOf(bench.clock, made);
    expect(state(other)).toBe('ended');
  });

  test('previews of the older kind, while ours runs', async () => {
    bench.server.old = true;
    bench.server.script('it', { do: 'draw', steps: 2, previews: [jpg, Buffer.from('junk'), png] });
    const made = call(bench.model);
    await runs();
    await until(bench.clock, 'it listens', () => asked('/queue') > 0);
    bench.step(2);
    await until(bench.clock, 'progress', () => made.progress.length === 2);
    expect(made.previews).toEqual([{ bytes: new Uint8Array(jpg), extension: 'jpg' }]);
    bench.step();
    await pictureOf(bench.clock, made);
  });

  test('frames that make no sense do no harm', async () => {
    bench.server.script('it', { do: 'draw', steps: 2 });
    const made = call(bench.model, { job });
    await runs();
    await until(bench.clock, 'it listens', () => asked('/queue') > 0);
    const mine = { prompt_id: job, node: '5' };
    for (const frame of [
      [],
      { type: 'progress' },
      { type: 'progress', data: { ...mine, value: '1', max: 2 } },
      { type: 'progress', data: { ...mine, value: 3, max: 2 } },
      { type: 'progress', data: { ...mine, value: -1, max: 2 } },
      { type: 'progress', data: { ...mine, value: 0, max: 0 } },
      { type: 'progress', data: { ...mine, value: 1, max: 1e9 } },
      { type: 'progress', data: { ...mine, value: 1, max: 2, node: '6' } },
      { type: 'progress', data: { value: 1, max: 2, node: '5' } },
      { type: 'progress', data: { ...mine, value: 1, max: 2, prompt_id: 'other' } },
      { type: 'progress_state', data: { prompt_id: job, nodes: [null, 7, { state: 'running' }] } },
      { type: 'progress_state', data: { prompt_id: job, nodes: null } },
      { type: 'executing', data: null },
      { type: '__proto__', data: {} },
      Buffer.alloc(0),
      Buffer.alloc(7, 1),
      Buffer.from([0, 0, 0, 4, 255, 255, 255, 255, 1, 2]),
      Buffer.from([0, 0, 0, 3, 0, 0, 0, 1, 65]),
      preview(Buffer.from('<svg xmlns="x"></svg>')),
      preview(png.subarray(0, 20)),
    ]) {
      bench.server.tell(frame);
    }
    await calm();
    expect(made).toMatchObject({ progress: [], previews: [], outcome: undefined });
    bench.step(3);
    await pictureOf(bench.clock, made);
    expect(made.progress).toEqual(['1/2 step', '2/2 step']);
  });

  test('a second pass of the sampler does not turn progress back', async () => {
    bench.server.script('it', { do: 'draw', steps: 2 });
    const made = call(bench.model, { job });
    await runs();
    await until(bench.clock, 'it listens', () => asked('/queue') > 0);
    bench.step(2);
    for (const [value, max] of [
      [1, 2],
      [3, 10],
    ])
      bench.server.tell({ type: 'progress', data: { value, max, prompt_id: job, node: '5' } });
    await calm();
    expect(made.progress).toEqual(['1/2 step', '2/2 step']);
    bench.step();
    await pictureOf(bench.clock, made);
  });
});

describe('a job that makes no picture', () => {
  test('validation: the node is named', async () => {
    bench.server.script('it', {
      do: 'node-error',
      message: `ckpt_name: 'x' not in ['a'] ${bench.secret} ${'y'.repeat(400)}`,
    });
    const error = await errorOf(bench.clock, call(bench.model));
    expect(error).toMatchObject({ code: 'bad_request', retryable: false });
    expect(error.message).toContain("CheckpointLoaderSimple (node 1): Value not in list: ckpt_name: 'x' not in ['a']");
    expect(error.message).not.toContain(bench.secret);
    expect(error.message.length).toBeLessThanOrEqual(300);
  });

  test('a node that fails, and one that somebody interrupts', async () => {
    bench.server.script('it', { do: 'node-fails', message: `Allocation on device\n${bench.secret}${'x'.repeat(400)}` });
    const error = await errorOf(bench.clock, call(bench.model));
    expect(error).toMatchObject({ code: 'provider', retryable: true });
    expect(error.message).toContain('KSampler (node 5): Allocation on device [key]');
    expect(error.message.length).toBeLessThanOrEqual(300);
    bench.server.script('it', { do: 'draw', steps: 2 });
    const made = call(bench.model);
    await runs();
    await calm();
    bench.server.interruptByOther();
    expect(await errorOf(bench.clock, made)).toMatchObject({ retryable: true, message: sees('was interrupted') });
  });

  test('no output: an error; only something shown: that', async () => {
    for (const outputs of [
      {},
      null,
      { '7': { images: [{ filename: 5 }, null, { filename: 'in.png', type: 'input' }] } },
    ]) {
      bench.server.script('it', { do: 'outputs', outputs });
      expect(await errorOf(bench.clock, call(bench.model))).toMatchObject({
        code: 'provider',
        retryable: false,
        message: sees('without a picture'),
      });
    }
    const images = [{ filename: '../a&b.png', subfolder: '', type: 'temp' }];
    bench.server.script('it', { do: 'outputs', outputs: { '9': { text: ['x'] }, '7': { images } } });
    expect(await pictureOf(bench.clock, call(bench.model))).toEqual({ bytes: png, extension: 'png' });
    expect(bench.server.requests.at(-1)?.path).toBe('/view?filename=..%2Fa%26b.png&subfolder=&type=temp');
  });

  test('taken out of the queue by somebody, or out of the history', async () => {
    bench.server.foreign(2);
    const made = call(bench.model, { job });
    await until(bench.clock, 'it waits', () => ours()[0]?.state === 'queued');
    await fetch(`${bench.server.origin}/queue`, { method: 'POST', body: JSON.stringify({ delete: [job] }) });
    expect(await errorOf(bench.clock, made)).toMatchObject({ retryable: true, message: sees('does not know the job') });
  });
});

describe('the configuration', () => {
  test('no call has an Origin, every call has the headers', async () => {
    await pictureOf(bench.clock, call(bench.model, { job }));
    expect(bench.server.requests.length).toBeGreaterThan(5);
    for (const { headers } of bench.server.requests) {
      expect(headers.origin).toBeUndefined();
      expect(headers['authorization']).toBe(`Basic ${bench.secret}`);
    }
    const foreign = await fetch(`${bench.server.origin}/queue`, { headers: { origin: 'http://evil.example' } });
    expect(foreign.status).toBe(403);
  });

  test('the socket comes before the job, with a client id of its own', async () => {
    await pictureOf(bench.clock, call(comfyuiImage({ ...simple(), clientId: 'mullion' }), { job }));
    const [ws, prompt] = bench.server.requests.filter(({ path }) => /^\/(ws|prompt)/.test(path));
    expect(ws?.path).toBe(`/ws?clientId=mullion-${job}`);
    expect(JSON.parse(prompt?.body ?? '')).toMatchObject({ prompt_id: job, client_id: `mullion-${job}` });
  });

  test('a base URL with /api, and a slash at its end', async () => {
    await pictureOf(bench.clock, call(comfyuiImage({ ...simple(), baseUrl: `${bench.server.origin}/api/` })));
    expect(bench.server.requests.every(({ path }) => path.startsWith('/api/'))).toBe(true);
  });

  test('engine, host and variant', () => {
    const model = comfyuiImage(simple());
    expect(model).toMatchObject({ engine: 'sd15.safetensors', host: bench.server.origin });
    expect(model.variant).toMatch(/^[0-9a-f]{16}$/);
    expect(comfyuiImage(simple()).variant).toBe(model.variant);
    const others = [{ size: '512x512' }, { steps: 5 }, { cfgScale: 1 }, { sampler: 'lcm' }, { negativePrompt: 'x' }];
    const variants = others.map((more) => comfyuiImage({ ...simple(), ...more }).variant);
    expect(new Set([model.variant, ...variants]).size).toBe(6);
    const workflow = { '1': { class_type: 'X', inputs: { text: '{{prompt}}' } } };
    expect(comfyuiImage({ baseUrl: bench.server.origin, workflow })).toMatchObject({ engine: 'comfyui' });
  });

  test('what is wrong is named, and no header is shown', () => {
    const bad =
      (more: object): (() => unknown) =>
      () =>
        comfyuiImage({ ...simple(), ...more });
    expect(bad({ checkpoint: undefined })).toThrow(/^checkpoint: /);
    for (const size of ['big', '512', '8x8', '512x516', '16392x512', '512x512x3'])
      expect(bad({ size }), size).toThrow(/^size: expected WIDTHxHEIGHT/);
    for (const size of ['16x16', '16384x16384']) expect(bad({ size }), size).not.toThrow();
    for (const steps of [0, 10_001, 1.5, Number.NaN]) expect(bad({ steps })).toThrow(/^steps: /);
    expect(bad({ cfgScale: 101 })).toThrow(/^cfgScale: /);
    expect(bad({ clientId: 'a b' })).toThrow(/^clientId: /);
    expect(bad({ baseUrl: 'ftp://x' })).toThrow(/^baseUrl: /);
    expect(bad({ headers: { Origin: 'x' } })).toThrow(/^headers\.Origin: /);
    expect(bad({ headers: { 'a b': 'x' } })).toThrow(/^headers: /);
    expect(bad({ headers: { a: 'secret\n' } })).toThrow(/^headers\.a: (?!.*secret)/);
  });

  const simple = (): { baseUrl: string; checkpoint: string; clock: SimClock } => ({
    baseUrl: bench.server.origin,
    checkpoint: 'sd15.safetensors',
    clock: bench.clock,
  });
});
