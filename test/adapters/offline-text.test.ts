import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, expect, it } from 'vitest';
import { offlineText } from '../../src/adapters/offline-text.ts';
import { describeScene } from '../../src/adapters/offline/describe.ts';
import { moods, places, times, weathers } from '../../src/adapters/offline/lexicon.ts';
import type { Mood, Place, Time, Weather } from '../../src/adapters/offline/lexicon.ts';
import { readScene } from '../../src/adapters/offline/scene.ts';
import { sentencesOf } from '../../src/adapters/offline/words.ts';
import type { TextRequest } from '../../src/ports/models.ts';
import { chinese, english, japanese, messagesOf, spanish } from './offline-stories.ts';

const silent = { heard: () => {}, progress: () => {}, usage: () => {}, preview: () => {} };
const engine = offlineText({ pace: 0 });

async function ask(stage: string, material: Partial<TextRequest['material']>, signal = new AbortController().signal) {
  const request: TextRequest = {
    stage,
    prompt: [],
    material: { messages: [], current: '', maxChars: 1_500, ...material },
  };
  let answer = '';
  for await (const piece of engine.stream(request, signal, silent)) answer += piece;
  return answer;
}

const words = (text: string) => text.split(/\s+/).length;
const story = messagesOf(english);
const sample = { role: 'assistant', generation: 1, at: '', final: true, outcome: 'complete' } as const;

describe('summarize', () => {
  it('tells the story in order, in whole sentences, without small talk', async () => {
    const text = await ask('summarize', { messages: story });
    for (const fact of ['Marta', 'Tobias', 'lighthouse', 'green light', 'coin']) expect(text).toContain(fact);
    expect(text).not.toContain('What do you do?');
    const all = story.flatMap((message) => [...sentencesOf(message.text)]);
    const places = [...sentencesOf(text)].map((sentence) => all.indexOf(sentence));
    expect(places).not.toContain(-1);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
  });

  it.each([
    ['ja', japanese, 'マルタ'],
    ['zh', chinese, '玛尔塔'],
    ['es', spanish, 'faro'],
  ] as const)('works in %s', async (_, lines, fact) => {
    const messages = messagesOf(lines);
    const text = await ask('summarize', { messages });
    expect(text).toContain(fact);
    expect(text.length).toBeLessThan(messages.map((message) => message.text).join('').length);
  });

  it.each([1, 40, 120, 400, 1_500])('is at most %i units long', async (maxChars) => {
    const text = await ask('summarize', { messages: story, maxChars });
    expect(text.length).toBeLessThanOrEqual(maxChars);
    expect(text).not.toBe('');
  });

  it('keeps an underscore inside a word, and drops one that is markup', async () => {
    const text = 'Marta sets LAMP_OIL_LEVEL on the _old_ brass dial of the lighthouse before the storm.';
    const summary = await ask('summarize', { messages: [{ ...sample, id: 'm1', text }] });
    expect(summary).toContain('LAMP_OIL_LEVEL');
    expect(summary).toContain('the old brass');
  });

  it('leaves out what the offline reply has said about itself, whole or cut short', async () => {
    const reply = await ask('reply', { messages: story });
    const alone = await ask('summarize', { messages: story });
    for (const text of [reply, reply.slice(0, 30)]) {
      const note = { ...sample, id: 'note', text };
      expect(await ask('summarize', { messages: [...story, note] })).toBe(alone);
    }
    expect(alone).not.toContain('offline engine');
  });

  it('has nothing to say about small talk', async () => {
    const messages = messagesOf([
      ['user', 'Thank you!'],
      ['assistant', 'You are welcome.'],
      ['user', 'Open it.'],
    ]);
    expect(await ask('summarize', { messages })).toBe('');
  });

  it('keeps "Mr." inside its sentence', () => {
    expect([...sentencesOf('Mr. Harrow waits. "Stop!" she said. He runs.')]).toEqual([
      'Mr. Harrow waits.',
      '"Stop!" she said.',
      'He runs.',
    ]);
  });

  it('remembers what has left the window, but not what was edited out of it', async () => {
    const old = 'Long ago the bell of Saltmere sank in the bay.';
    expect(await ask('summarize', { messages: story.slice(4), current: old })).toContain(old);
    expect(await ask('summarize', { messages: story, current: old })).not.toContain(old);
  });
});

describe('evaluate', () => {
  it('says NO as long as what it would write is what is there, at each point of the story', async () => {
    let current = '';
    for (let end = 1; end <= story.length; end += 1) {
      const messages = story.slice(Math.max(0, end - 5), end);
      const now = await ask('summarize', { messages, current });
      expect(await ask('evaluate', { messages, current: now, purpose: 'summary' }), `after message ${end}`).toBe('NO');
      current = now;
    }
  });

  it('says NO after small talk and YES after news', async () => {
    const current = await ask('summarize', { messages: story });
    const more = (text: string) => messagesOf([...english, ['user', text]]);
    expect(await ask('evaluate', { messages: more('ok, thanks!'), current, purpose: 'summary' })).toBe('NO');
    const news = 'Captain Harrow burns the logbook of Tobias and sinks the rowing boat of Marta.';
    expect(
      await ask('evaluate', { messages: messagesOf([...english, ['assistant', news]]), current, purpose: 'summary' }),
    ).toBe('YES');
  });

  it('compares scenes for the scene pane', async () => {
    const current = await ask('describe', { messages: story, maxChars: 600 });
    const ask2 = (line: string) =>
      ask('evaluate', {
        messages: messagesOf([...english, ['assistant', line]]),
        current,
        maxChars: 600,
        purpose: 'scene',
      });
    expect(await ask2('Well then.')).toBe('NO');
    expect(await ask2('You wake in a sunlit forest, deep among the trees of a green wood.')).toBe('YES');
  });

  it('says NO where there is nothing to say', async () => {
    expect(await ask('evaluate', { messages: messagesOf([['user', 'ok']]), purpose: 'scene' })).toBe('NO');
    expect(await ask('evaluate', { messages: [], purpose: 'summary' })).toBe('NO');
  });
});

describe('describe', () => {
  it('finds the place, the hour, the weather and the things of the story', async () => {
    const scene = await readScene(
      story.map((message) => message.text),
      () => undefined,
    );
    expect(scene).toMatchObject({ place: 'sea', time: 'night', weather: 'storm', accent: 'green' });
    expect(scene?.things.map(({ thing }) => thing)).toEqual(expect.arrayContaining(['lighthouse', 'boat']));
  });

  it.each([
    ['ja', japanese],
    ['zh', chinese],
    ['es', spanish],
  ] as const)('finds them in %s', async (_, lines) => {
    const scene = await readScene(
      lines.map(([, text]) => text),
      () => undefined,
    );
    expect(scene).toMatchObject({ place: 'sea', time: 'night', weather: 'storm' });
    expect(scene?.things.map(({ thing }) => thing)).toContain('lighthouse');
  });

  it('says every scene in 35 to 60 words that read back as the same scene', async () => {
    const keys = <Key extends string>(source: { [key in Key]: unknown }) => {
      const found: Key[] = [];
      for (const key in source) found.push(key);
      return found;
    };
    for (const place of keys<Place>(places))
      for (const time of keys<Time>(times))
        for (const weather of keys<Weather>(weathers))
          for (const mood of keys<Mood>(moods)) {
            const inside = ['cave', 'tavern', 'library', 'room'].includes(place);
            const things =
              mood === 'calm'
                ? []
                : [
                    { thing: inside ? ('table' as const) : ('tower' as const), look: 'old' },
                    { thing: 'figure' as const, look: 'lonely' },
                  ];
            const text = describeScene({ place, time, weather, things, accent: mood === 'sad' ? 'red' : null, mood });
            expect(words(text), text).toBeGreaterThanOrEqual(35);
            expect(words(text), text).toBeLessThanOrEqual(60);
            const read = await readScene([text], () => undefined);
            expect(read, text).toMatchObject({ place, time, weather, mood, accent: mood === 'sad' ? 'red' : null });
            expect(read?.things.map(({ thing }) => thing).sort(), text).toEqual(
              things.map(({ thing }) => thing).sort(),
            );
          }
  });

  it('leaves out what stands furthest back rather than go over 60 words', async () => {
    const things = (['castle', 'lighthouse', 'boat', 'figure'] as const).map((thing) => ({ thing, look: 'abandoned' }));
    for (const place of ['sea', 'mountain', 'forest'] as const) {
      const text = describeScene({ place, time: 'dawn', weather: 'rain', things, accent: 'gold', mood: 'joyful' });
      expect(words(text), text).toBeLessThanOrEqual(60);
      expect(text).toContain('castle');
    }
  });

  it('is blank when nothing can be seen, and never longer than allowed', async () => {
    expect(await ask('describe', { messages: messagesOf([['user', 'What is 2 + 2?']]) })).toBe('');
    for (const maxChars of [20, 200, 600]) {
      expect((await ask('describe', { messages: story, maxChars })).length).toBeLessThanOrEqual(maxChars);
    }
  });
});

describe('reply', () => {
  it('says what it is, what it has understood, and how to connect a model', async () => {
    const text = await ask('reply', { messages: story.slice(0, 7) });
    for (const part of ['offline engine', 'Marta', 'Tobias', 'Saltmere', 'OPENAI_BASE_URL', 'I reach into the water'])
      expect(text).toContain(part);
    expect(text).not.toContain('Tuesday');
  });

  it('says it in other words the next time, and in the same words for the same chat', async () => {
    const replies = await Promise.all([1, 3, 5, 7].map((end) => ask('reply', { messages: story.slice(0, end) })));
    expect(new Set(replies.map((text) => text.split('\n')[0])).size).toBeGreaterThan(1);
    expect(await ask('reply', { messages: story.slice(0, 7) })).toBe(replies[3]);
  });

  it('comes word by word at its pace, and stops when it is aborted', async () => {
    const waits: number[] = [];
    const controller = new AbortController();
    const paced = offlineText({ pace: 25, delay: async (ms) => void waits.push(ms) });
    const request: TextRequest = {
      stage: 'reply',
      prompt: [],
      material: { messages: story, current: '', maxChars: 9_999 },
    };
    const pieces: string[] = [];
    const reason = new Error('superseded');
    await expect(async () => {
      for await (const piece of paced.stream(request, controller.signal, silent)) {
        pieces.push(piece);
        if (pieces.length === 3) controller.abort(reason);
      }
    }).rejects.toBe(reason);
    expect(pieces).toHaveLength(3);
    expect(new Set(waits)).toEqual(new Set([25]));
  });

  it('waits in real time by default and gives up with the reason of the abort', async () => {
    const controller = new AbortController();
    const request: TextRequest = {
      stage: 'reply',
      prompt: [],
      material: { messages: story, current: '', maxChars: 9_999 },
    };
    const pieces = offlineText({ pace: 60_000 }).stream(request, controller.signal, silent);
    const reading = pieces[Symbol.asyncIterator]().next();
    setImmediate(() => controller.abort(new Error('stop')));
    await expect(reading).rejects.toThrow('stop');
  });
});

describe('a huge transcript', () => {
  const sentence = (seed: number) =>
    `Captain Number${seed % 97} carries the crate ${seed} across harbour ${seed % 13} towards the silent tower of stone and salt. `;
  const huge = messagesOf(
    Array.from({ length: 60 }, (_, i): ['assistant', string] => [
      'assistant',
      Array.from({ length: 1_200 }, (__, j) => sentence(i * 1_200 + j)).join(''),
    ]),
  );

  it('is summarised without holding up the event loop', async () => {
    await ask('summarize', { messages: story });
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const text = await ask('summarize', { messages: huge });
    delay.disable();
    expect(text.length).toBeLessThanOrEqual(1_500);
    // The slices are 5 ms; the rest is room for a busy machine. Unsliced it is one stretch of several hundred.
    expect(delay.percentile(90) / 1e6).toBeLessThan(30);
    expect(delay.max / 1e6).toBeLessThan(100);
  });

  it('is given up in mid-work with the reason of the abort', async () => {
    const controller = new AbortController();
    setImmediate(() => controller.abort(new Error('superseded')));
    await expect(ask('summarize', { messages: huge }, controller.signal)).rejects.toThrow('superseded');
  });
});

it('throws the reason of a signal that is aborted already, in every stage', async () => {
  const signal = AbortSignal.abort(new Error('too late'));
  for (const stage of ['evaluate', 'summarize', 'describe', 'reply'])
    await expect(ask(stage, { messages: story }, signal)).rejects.toThrow('too late');
});
