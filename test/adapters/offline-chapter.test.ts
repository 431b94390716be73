import { describe, expect, it } from 'vitest';
import { offlineText } from '../../src/adapters/offline-text.ts';
import { draftChapter, outlineChapter } from '../../src/adapters/offline/chapter.ts';
import { isEnglish } from '../../src/adapters/offline/english.ts';
import { proposePictures } from '../../src/adapters/offline/propose.ts';
import { editChapter } from '../../src/adapters/offline/revise.ts';
import { sentencesOf } from '../../src/adapters/offline/words.ts';
import { placeOf, readProposals } from '../../src/panes/illustrations/place.ts';
import type { ChapterMaterial, TextRequest } from '../../src/ports/models.ts';
import { chinese, english, japanese, messagesOf, spanish } from './offline-stories.ts';

const silent = { heard: () => {}, progress: () => {}, preview: () => {}, usage: () => {} };
type Purpose = NonNullable<TextRequest['material']['purpose']>;

async function pieces(purpose: Purpose, material: Partial<TextRequest['material']>, engine = offlineText({ pace: 0 })) {
  const stage = { outline: 'outline', draft: 'draft', edit: 'edit', illustrations: 'propose' }[purpose as string] ?? '';
  const request: TextRequest = {
    stage,
    prompt: [],
    material: { messages: [], current: '', maxChars: 24_000, purpose, ...material },
  };
  const found: string[] = [];
  for await (const piece of engine.stream(request, new AbortController().signal, silent)) found.push(piece);
  return found;
}

const ask = async (purpose: Purpose, material: Partial<TextRequest['material']>) =>
  (await pieces(purpose, material)).join('');

const story = messagesOf(english);
const coin: ChapterMaterial = {
  title: 'The coin',
  brief:
    'Write a chapter in which Marta rows to the lighthouse and finds the logbook of Tobias. She reads its last page. Keep it short. Mr. Harrow waits for her at the pier with a lantern.',
  feedback: '',
  outline: '',
  earlier: [{ title: 'The boat', text: 'It began. Tobias left the lighthouse before dawn without his coat.' }],
};
const words = (text: string) => text.split(/\s+/).length;
const said = (messages: typeof story, chapter: ChapterMaterial) =>
  [...messages.map(({ text }) => text), chapter.brief, ...chapter.earlier.map(({ text }) => text)].flatMap((text) => [
    ...sentencesOf(text),
  ]);

describe('outline', () => {
  it('has three to five beats of the brief, the chapter before and the transcript', async () => {
    const outline = await ask('outline', { messages: story, chapter: coin });
    const beats = outline.split('\n').map((line) => line.replace(/^- /, ''));
    expect(beats.length).toBeGreaterThanOrEqual(3);
    expect(beats.length).toBeLessThanOrEqual(5);
    expect(beats[0]).toBe('Tobias left the lighthouse before dawn without his coat.');
    expect(beats).toContain('Marta rows to the lighthouse and finds the logbook of Tobias.');
    expect(outline).not.toContain('Keep it short');
    expect(said(story, coin)).toContain(beats.at(-1));
  });

  it('says what it can when there is next to nothing', async () => {
    const chapter = { ...coin, brief: 'Anna repairs the clock by the window at night.', earlier: [] };
    expect((await ask('outline', { chapter })).split('\n')).toEqual([
      '- Anna repairs the clock by the window at night.',
      '- Setting: It is night, and the sky is clear. There is the window.',
      '- About: The coin.',
    ]);
  });
});

describe('draft', () => {
  it('is a chapter of a few hundred words, along its outline, with what the brief and the transcript say', async () => {
    const outline = await ask('outline', { messages: story, chapter: coin });
    const draft = await ask('draft', { messages: story, chapter: { ...coin, outline } });
    expect(words(draft)).toBeGreaterThan(200);
    expect(words(draft)).toBeLessThan(500);
    expect(draft.split('\n\n').length).toBeGreaterThan(4);
    for (const beat of outline.split('\n').slice(1)) expect(draft).toContain(beat.replace(/^- /, ''));
    expect(draft).toContain('It goes on where it stopped: “Tobias left the lighthouse');
    for (const note of ['Keep it short', 'Write a chapter', 'What do you do?', '%', '- '])
      expect(draft).not.toContain(note);
    const sentences = [...sentencesOf(draft)];
    expect(new Set(sentences).size).toBe(sentences.length);
  });

  it('does not tell what its outline only says about it', async () => {
    const chapter = { ...coin, brief: 'Anna repairs the clock by the window at night.', earlier: [] };
    const outline = await ask('outline', { chapter });
    const draft = await ask('draft', { chapter: { ...chapter, outline } });
    expect(draft).toContain('Anna repairs the clock by the window at night.');
    expect(draft).not.toMatch(/Setting|About/);
    expect(new Set(sentencesOf(draft)).size).toBe([...sentencesOf(draft)].length);
  });

  it('lets the narrator tell, as long as there is one', async () => {
    const draft = (messages: typeof story) => ask('draft', { messages, chapter: coin });
    const tried = 'I walk down to the harbour of Saltmere';
    expect(await draft(story)).not.toContain(tried);
    expect(await draft(story.filter(({ role }) => role === 'user'))).toContain(tried);
  });

  it('is the same for the same material, and another for another brief or wish', async () => {
    const draft = (more: Partial<ChapterMaterial>) => ask('draft', { messages: story, chapter: { ...coin, ...more } });
    expect(await draft({})).toBe(await draft({}));
    const others = await Promise.all([
      draft({}),
      draft({ brief: 'The storm comes to Saltmere.' }),
      draft({ feedback: 'More storm.' }),
    ]);
    expect(new Set(others).size).toBe(3);
    // Only what is our own in it differs with the title: it is chosen by the chapter, not always the same.
    const titles = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((title) => draft({ title })));
    expect(new Set(titles).size).toBeGreaterThan(2);
  });

  it('gets shorter on request, and leads with what is wanted more of', async () => {
    const draft = (feedback: string) => ask('draft', { messages: story, chapter: { ...coin, feedback } });
    const usual = await draft('');
    expect(words(await draft('Make it shorter.'))).toBeLessThan(words(usual) * 0.75);
    const storm = await draft('shorter, with thunder and storm');
    expect(storm).toContain('A storm is building over the sea');
    expect(await draft('shorter')).not.toContain('A storm is building over the sea');
  });

  it.each([
    ['ja', japanese, '灯台', 'マルタは灯台へ舟をこぐ。トビアスの日誌を見つける。'],
    ['zh', chinese, '灯塔', '玛尔塔划船去灯塔。她找到托比亚斯的日记。'],
    ['es', spanish, 'El faro', 'Marta rema hasta el faro y encuentra el diario de Tobías.'],
  ] as const)('arranges what people have said in %s, and says nothing of its own', async (_, lines, title, brief) => {
    const messages = messagesOf([...lines]);
    const chapter = { ...coin, title, brief };
    const outline = await ask('outline', { messages, chapter });
    const draft = await ask('draft', { messages, chapter: { ...chapter, outline } });
    const own = said(messages, chapter);
    for (const sentence of sentencesOf(draft)) expect(own).toContain(sentence);
    for (const sentence of sentencesOf(brief)) expect(draft).toContain(sentence);
    expect([...sentencesOf(draft)].length).toBeGreaterThan([...sentencesOf(brief)].length);
    expect(isEnglish(outline)).toBe(false);
  });

  it('does not mix languages', async () => {
    const chapter = { ...coin, title: 'Das Licht', brief: 'Marta rudert zum Leuchtturm. Dort findet sie das Logbuch.' };
    expect(await ask('draft', { messages: story, chapter })).toBe(
      'Marta rudert zum Leuchtturm.\n\nDort findet sie das Logbuch.',
    );
    const text = await ask('draft', { messages: messagesOf([...japanese]), chapter: coin });
    expect(text).not.toMatch(/[\u3040-\u9fff]/);
  });

  it('is made of the text that is there when a rewrite brings no brief', async () => {
    const current = 'Marta counts the lamps of the pier. Tobias hides his logbook under the stairs.';
    const text = await ask('draft', { current, chapter: { ...coin, brief: '', earlier: [] } });
    for (const sentence of sentencesOf(current)) expect(text).toContain(sentence);
  });

  it.each([1, 30, 200, 900])('is at most %i units long, and never blank', async (maxChars) => {
    for (const purpose of ['outline', 'draft'] as const) {
      const text = await ask(purpose, { messages: story, chapter: coin, maxChars });
      expect(text.length).toBeLessThanOrEqual(maxChars);
      expect(text.trim()).not.toBe('');
    }
  });

  it('leaves out what the offline reply has said about itself', async () => {
    const notes = messagesOf([
      ...english,
      [
        'assistant',
        'This answer comes from the offline engine, without a language model. It will not invent the next scene, but it has read along.',
      ],
    ]);
    expect(await ask('draft', { messages: notes, chapter: coin })).toBe(
      await ask('draft', { messages: story, chapter: coin }),
    );
  });

  it('comes in pieces at the pace of the engine, and stops when it is aborted', async () => {
    const waits: number[] = [];
    const engine = offlineText({ pace: 25, delay: async (ms) => void waits.push(ms) });
    const found = await pieces('draft', { messages: story, chapter: coin }, engine);
    expect(found.join('')).toBe(await ask('draft', { messages: story, chapter: coin }));
    expect(found.length).toBeGreaterThan(40);
    expect(waits).toEqual(found.map(() => 25));
    const controller = new AbortController();
    const request: TextRequest = {
      stage: 'draft',
      prompt: [],
      material: { messages: story, current: '', maxChars: 9_999, purpose: 'draft', chapter: coin },
    };
    const reason = new Error('cancelled');
    let heard = 0;
    await expect(async () => {
      for await (const _ of engine.stream(request, controller.signal, silent))
        if ((heard += 1) === 3) controller.abort(reason);
    }).rejects.toBe(reason);
    expect(heard).toBe(3);
  });

  it('cuts no character in half between its pieces', async () => {
    const brief = `😀${'🚀'.repeat(200)} the end and the beginning.`;
    for (const piece of await pieces('draft', { chapter: { ...coin, title: 'x', brief } }))
      expect(() => encodeURIComponent(piece)).not.toThrow();
  });
});

describe('edit', () => {
  const edit = (current: string, feedback = '', maxChars = 24_000) =>
    ask('edit', { current, maxChars, chapter: { ...coin, feedback } });

  it('removes what comes twice, puts blanks right, and leaves the rest as it is', async () => {
    expect(
      await edit(
        'Marta rows out to sea.  The rain   falls .\n\n\nYes! Marta rows out to sea. She sees a light.\n\nYes!',
      ),
    ).toBe('Marta rows out to sea. The rain falls.\n\nYes! She sees a light.\n\nYes!');
    const clean = 'Marta rows out.\n\nShe sees a light, and the rain falls.';
    expect(await edit(clean)).toBe(clean);
  });

  it('leaves out what is not wanted, unless nothing would be left', async () => {
    const text = 'Marta rows out to sea. The green coin burns. She sees a light.';
    expect(await edit(text, 'Without the coin, please')).toBe('Marta rows out to sea. She sees a light.');
    expect(await edit('The green coin burns.', 'remove the coin')).toBe('The green coin burns.');
  });

  it('shortens on request', async () => {
    const draft = await ask('draft', { messages: story, chapter: coin });
    expect(words(await edit(draft, 'a bit shorter'))).toBeLessThan(words(draft) * 0.8);
  });

  it('works without blanks between words, and keeps to its length', async () => {
    expect(await edit('灯台は暗い夜に立っている。灯台は暗い夜に立っている。雨が降る。')).toBe(
      '灯台は暗い夜に立っている。雨が降る。',
    );
    const two = 'Marta rows out to sea.\n\nShe sees a light. It is green.';
    expect(await edit(two, '', two.length)).toBe(two);
    expect(await edit(two, '', two.length - 1)).toBe('Marta rows out to sea.');
    const long = 'Marta rows out to sea with a lamp. '.repeat(3) + 'She sees a light.';
    expect(await edit(long, '', 52)).toBe('Marta rows out to sea with a lamp. She sees a light.');
    expect(await edit(long, '', 51)).toBe('Marta rows out to sea with a lamp.');
  });
});

describe('illustrations', () => {
  it.each([
    ['en', english],
    ['ja', japanese],
    ['zh', chinese],
    ['es', spanish],
  ] as const)('proposes pictures that the pane can read and place, in %s', async (_, lines) => {
    const messages = messagesOf([...lines]);
    const text = messages.at(-1)?.text ?? '';
    const answer = await ask('illustrations', { messages, count: 3 });
    const proposals = readProposals(answer, 3);
    expect(proposals.length).toBeGreaterThan(0);
    expect(proposals).toHaveLength(answer.split('PICTURE: ').length - 1);
    const offsets = proposals.map(({ snippet }) => placeOf(text, snippet)?.offset ?? -1);
    expect(offsets).toEqual(offsets.toSorted((a, b) => a - b));
    // Each stands behind the end of a sentence.
    for (const offset of offsets) expect(text.slice(0, offset)).toMatch(/[.。]["”]?$/);
    for (const { prompt } of proposals) expect(words(prompt)).toBeGreaterThanOrEqual(35);
  });

  it('proposes at most as many as asked for', async () => {
    const messages = messagesOf(english.slice(0, 6));
    const count = async (most: number) =>
      readProposals(await ask('illustrations', { messages, count: most }), 9).length;
    expect(await count(1)).toBe(1);
    expect(await count(2)).toBe(2);
    expect(await count(9)).toBe(2);
  });

  it('shows nothing twice', async () => {
    const same = 'The lighthouse stands by the sea. Once more the sea and the lighthouse are there.';
    const other = `${same} Snow falls on the church of the village.`;
    const count = async (text: string) =>
      readProposals(await ask('illustrations', { messages: messagesOf([['assistant', text]]), count: 5 }), 9).length;
    expect(await count(same)).toBe(1);
    expect(await count(other)).toBe(2);
  });

  it('finds its sentence also behind markup and broken lines', async () => {
    const text =
      'Well.\n\n"The *old*  lighthouse stands in the storm above the night sea." Marta said so, without a word of the boat.';
    const messages = messagesOf([['assistant', text]]);
    const [proposal] = readProposals(await ask('illustrations', { messages, count: 1 }), 1);
    expect(placeOf(text, proposal?.snippet ?? '')?.offset).toBe(text.indexOf(' Marta'));
  });

  it('does not propose the same picture twice', async () => {
    const text =
      'The old lighthouse stands in the storm above the night sea. So it was: the old lighthouse in the storm above the night sea.';
    const messages = messagesOf([['assistant', text]]);
    expect(readProposals(await ask('illustrations', { messages, count: 3 }), 3)).toHaveLength(1);
  });

  it('puts a picture beside what its own notes say of the scene', async () => {
    const text =
      'This answer comes from the offline engine, without a language model. It will not invent the next scene, but it has read along.\n\nThe lighthouse stands in the storm by the sea at night.';
    const messages = messagesOf([...english.slice(0, 6), ['assistant', text]]);
    const [proposal, ...others] = readProposals(await ask('illustrations', { messages, count: 1 }), 1);
    expect(placeOf(text, proposal?.snippet ?? '')?.offset).toBe(text.length);
    expect(others).toEqual([]);
  });

  it.each([
    ['nothing can be seen', 'Yes. What is 2 + 2?'],
    ['its sentence cannot be found again', 'The lighthouse stands **in the storm by the sea at** night.'],
  ])('proposes nothing when %s', async (_, text) => {
    const messages = messagesOf([...english.slice(0, 6), ['assistant', text]]);
    const answer = await ask('illustrations', { messages, count: 3 });
    expect(answer).toBe('NONE');
    expect(readProposals(answer, 3)).toEqual([]);
  });
});

describe('isEnglish', () => {
  it.each([
    ['The lamp burns and nobody sees it.', true],
    ['Marta finds the logbook.', true],
    ['Sie war an Bord und hat nichts gesehen.', false],
    ['Marta rudert zum Leuchtturm.', false],
    ['Marta se acerca a la casa y no ve nada.', false],
    ["Elle a vu la mer et le phare d'en face.", false],
    ['灯台は暗い。', false],
    ['', false],
  ])('%j: %s', (text, expected) => {
    expect(isEnglish(text)).toBe(expected);
  });
});

describe('a huge transcript', () => {
  const sentence = (seed: number) =>
    `Captain Number${seed % 97} carries the crate ${seed} to harbour ${seed % 13} and the silent tower. `;
  const text = (from: number) => Array.from({ length: 200 }, (_, index) => sentence(from + index)).join('');
  const material: TextRequest['material'] = {
    messages: messagesOf(
      Array.from({ length: 100 }, (_, index): ['assistant', string] => ['assistant', text(index * 200)]),
    ),
    current: text(0),
    maxChars: 24_000,
    count: 5,
    chapter: { ...coin, outline: text(7), earlier: [{ title: 'x', text: text(3) }] },
  };
  const works = [outlineChapter, draftChapter, editChapter, proposePictures];

  it.each(works)('%o looks at the event loop in small steps', async (work) => {
    let steps = 0;
    await work(material, () => void (steps += 1));
    // Hundreds of sentences are looked at; none of these works takes more than one of them at a time.
    expect(steps).toBeGreaterThan(150);
  });

  it('reads the newest sentences, and no more than a chapter can be made of', async () => {
    let steps = 0;
    await draftChapter(material, () => void (steps += 1));
    expect(steps).toBeLessThan(400);
  });

  it.each(works)('%o is given up in mid-work with the reason of the abort', async (work) => {
    const reason = new Error('cancelled');
    let steps = 0;
    const giveUp = () => {
      steps += 1;
      if (steps === 100) throw reason;
      return undefined;
    };
    await expect(work(material, giveUp)).rejects.toBe(reason);
    expect(steps).toBe(100);
  });

  it('makes no chapter longer than one is, whatever the outline of somebody else', async () => {
    const outline = Array.from({ length: 500 }, (_, index) => `- Beat ${index} comes.`).join('\n');
    const draft = await draftChapter({ ...material, chapter: { ...coin, outline } }, () => undefined);
    expect(draft).toContain('Beat 39 comes.');
    expect(draft).not.toContain('Beat 40 comes.');
    expect(words(draft)).toBeLessThan(700);
  });
});
