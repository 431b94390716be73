import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { chaptersPane } from '../../../src/panes/chapters/chapters.ts';
import { limits } from '../../../src/protocol/names.ts';
import type { JsonObject } from '../../../src/protocol/records.ts';
import { utf8Bytes } from '../../../src/protocol/text.ts';
import { defaultPaneOptions } from '../../../src/server/sessions/pane-registry.ts';
import '../../support/seed.ts';
import { chapterValue, onePlan, partOf, planned, refusal } from './task-context.ts';

const chapter = (id: string, more: JsonObject = {}) => ({ id, title: `Title ${id}`, brief: `About ${id}.`, ...more });
const there = (id: string) => partOf(chapterValue(`Old ${id}`, `/v1/assets/chat-7/${id}.txt`));

describe('[T27] tasks from a request', () => {
  it('makes one task a chapter, with all that its stages need', () => {
    expect(planned({ chapters: [chapter('c1'), chapter('c2')], feedback: ' darker ', edit: true })).toEqual([
      {
        id: 'c1.1',
        label: 'Title c1',
        key: 'c1',
        input: {
          mode: 'write',
          chapter: 'c1',
          title: 'Title c1',
          brief: 'About c1.',
          feedback: 'darker',
          edit: true,
          before: [],
        },
      },
      {
        id: 'c2.1',
        label: 'Title c2',
        key: 'c2',
        after: ['c1.1'],
        input: {
          mode: 'write',
          chapter: 'c2',
          title: 'Title c2',
          brief: 'About c2.',
          feedback: 'darker',
          edit: true,
          before: ['c1'],
        },
      },
    ]);
  });

  it('asks for a review of each chapter when the request does', () => {
    const tasks = planned({ chapters: [chapter('c1'), chapter('c2')], review: true });
    expect(tasks.map((task) => task.review)).toEqual([true, true]);
    expect(planned({ chapters: [chapter('c1')] })[0]).not.toHaveProperty('review');
  });

  it('names a task after the version that it makes, so that a run that is joined has no name twice', () => {
    const part = partOf(chapterValue('One', 'a'), chapterValue('One', 'b'));
    expect(onePlan({ chapters: [chapter('c1')] }, { c1: part }).id).toBe('c1.3');
  });

  it.each<[string, JsonObject | null, string]>([
    [
      'nothing',
      null,
      'input: expected {"chapters": [{"id", "title", "brief"}]} or {"revert": {"id", "version"}}, got nothing',
    ],
    ['something else', { pages: 1 }, 'got an object with "pages"'],
    ['no list', { chapters: 'c1' }, 'chapters: expected a list of 1 to 200 chapters, got "c1"'],
    ['an empty list', { chapters: [] }, 'chapters: expected a list of 1 to 200 chapters, got a list of 0'],
    ['no chapter', { chapters: [7] }, 'chapters.0: expected an object, got 7'],
    [
      'no title',
      { chapters: [chapter('c1'), { id: 'c2', brief: 'b' }] },
      'chapters.1.title: expected 1 to 200 characters, got nothing',
    ],
    [
      'a blank title',
      { chapters: [chapter('c1', { title: '  ' })] },
      'chapters.0.title: expected 1 to 200 characters, got "  "',
    ],
    [
      'no brief',
      { chapters: [{ id: 'c1', title: 't' }] },
      'chapters.0.brief: expected 1 to 4,000 characters, got nothing',
    ],
    ['a bad id', { chapters: [chapter('c 1')] }, 'chapters.0.id: expected 1 to 64 of A-Z a-z 0-9 _ -, got "c 1"'],
    [
      'an id that objects cannot hold',
      { chapters: [chapter('__proto__')] },
      'chapters.0.id: expected a name that is not built',
    ],
    ['a bad mode', { chapters: [chapter('c1')], mode: 'append' }, 'mode: expected "write" or "rewrite", got "append"'],
    ['a bad flag', { chapters: [chapter('c1')], edit: 'yes' }, 'edit: expected true or false, got "yes"'],
    ['an unknown field', { chapters: [chapter('c1', { tone: 'dark' })] }, 'unknown field "chapters.0.tone"'],
    ['an unknown wish', { chapters: [chapter('c1')], tone: 'dark' }, 'unknown field "tone"'],
    [
      'a bad after',
      { chapters: [chapter('c1', { after: 'c0' })] },
      'chapters.0.after: expected a list of at most 20 chapter ids, got "c0"',
    ],
    [
      'an id twice',
      { chapters: [chapter('c1'), chapter('c1')] },
      'chapters.1.id: expected an id of its own, got "c1" again',
    ],
    ['a bad version', { revert: { id: 'c1', version: 0 } }, 'revert.version: expected a whole number from 1, got 0'],
    ['both', { revert: { id: 'c1', version: 1 }, chapters: [] }, 'unknown field "chapters"'],
  ])('refuses %s, naming what was expected and what came', (_, input, expected) => {
    expect(refusal(input)).toContain(expected);
  });

  it.each([
    ['id', 64, (size: number) => chapter('c'.repeat(size))],
    ['title', 200, (size: number) => chapter('c1', { title: 't'.repeat(size) })],
    ['brief', 4_000, (size: number) => chapter('c1', { brief: 'b'.repeat(size) })],
  ] as const)('takes a %s of %i characters, and not one more', (field, size, of) => {
    expect(refusal({ chapters: [of(size)] })).toBe('');
    expect(refusal({ chapters: [of(size + 1)] })).toContain(`chapters.0.${field}: expected`);
  });

  it('takes feedback of 2,000 characters, 200 chapters, and 20 names in after, and not one more', () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => chapter(`c${index}`));
    const ids = (count: number) => many(count).map(({ id }) => id);
    expect(refusal({ chapters: [chapter('c1')], feedback: 'f'.repeat(2_000) })).toBe('');
    expect(refusal({ chapters: [chapter('c1')], feedback: 'f'.repeat(2_001) })).toBe(
      'feedback: expected 0 to 2,000 characters, got 2001 characters',
    );
    expect(planned({ chapters: many(200) })).toHaveLength(200);
    expect(refusal({ chapters: many(201) })).toBe('chapters: expected a list of 1 to 200 chapters, got a list of 201');
    expect(refusal({ chapters: [...many(20), chapter('last', { after: ids(20) })] })).toBe('');
    expect(refusal({ chapters: [...many(21), chapter('last', { after: ids(21) })] })).toContain('at most 20');
  });

  it('keeps the input of a task within its bytes, at the expense of the chapters that are far before it', () => {
    const ids = Array.from({ length: 30 }, (_, index) => `${index}`.padStart(64, 'c'));
    const chapters = ids.map((id) => chapter(id, { brief: 'b'.repeat(4_000) }));
    const tasks = planned({ chapters, feedback: '"'.repeat(1_700) });
    for (const task of tasks) expect(utf8Bytes(JSON.stringify(task.input))).toBeLessThanOrEqual(limits.maxTaskBytes);
    const { before } = tasks.at(-1)?.input ?? {};
    expect(before).toEqual(ids.slice(29 - (Array.isArray(before) ? before.length : 0), 29));
    expect(Array.isArray(before) && before.length).toBeGreaterThan(5);
    expect(Array.isArray(before) && before.length).toBeLessThan(20);
  });

  it('takes a request that just fits into the bytes of a task, and refuses one byte more', () => {
    const withBrief = (size: number) => ({ chapters: [chapter('c1', { brief: '字'.repeat(size), title: 'tt' })] });
    const room = limits.maxTaskBytes - utf8Bytes(JSON.stringify(onePlan(withBrief(1)).input)) + 3;
    const fits = Math.floor(room / 3);
    expect(refusal(withBrief(fits))).toBe('');
    expect(refusal(withBrief(fits + 1))).toContain(
      `chapters.0: expected title, brief and feedback in at most 8192 bytes`,
    );
  });

  it('answers whatever comes with tasks or with a reason, and never throws', () => {
    const id = fc.constantFrom('c1', 'c2', 'c3', 'constructor', '__proto__', '');
    const some = fc.record(
      {
        chapters: fc.oneof(
          fc.array(
            fc.record(
              { id, title: fc.string(), brief: fc.string(), after: fc.array(id, { maxLength: 3 }) },
              { requiredKeys: ['id', 'title'] },
            ),
            { maxLength: 4 },
          ),
          fc.jsonValue(),
        ),
        mode: fc.constantFrom('write', 'rewrite', 'x'),
        parallel: fc.boolean(),
        revert: fc.jsonValue(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(some, (input) => {
        // JSON is what arrives: fast-check's values are, but their type does not say so.
        const arrived = z.record(z.string(), z.json()).parse(JSON.parse(JSON.stringify(input)));
        const why = refusal(arrived, { c1: there('c1') });
        expect(why.length).toBeLessThan(600);
        if (why !== '') return;
        const tasks = planned(arrived, { c1: there('c1') });
        expect(new Set(tasks.map((task) => task.id)).size).toBe(tasks.length);
      }),
      { numRuns: 300 },
    );
  });
});

describe('[T48] order and dependencies', () => {
  const orders = (input: JsonObject, parts = {}) =>
    planned(input, parts).map((task) => [task.id, ...(task.after ?? [])].join(' < '));

  it('writes in sequence unless it is told otherwise', () => {
    const chapters = [chapter('c1'), chapter('c2'), chapter('c3', { after: ['c1'] })];
    expect(orders({ chapters })).toEqual(['c1.1', 'c2.1 < c1.1', 'c3.1 < c2.1 < c1.1']);
    expect(orders({ chapters, parallel: true })).toEqual(['c1.1', 'c2.1', 'c3.1 < c1.1']);
  });

  it('waits for no chapter that is there already, but reads it', () => {
    const [task] = planned({ chapters: [chapter('c2', { after: ['c1'] })] }, { c1: there('c1') });
    expect(task).not.toHaveProperty('after');
    expect(task?.input['before']).toEqual(['c1']);
  });

  it('refuses to wait for a chapter that nobody knows', () => {
    expect(refusal({ chapters: [chapter('c1', { after: ['c9'] })] })).toBe(
      'chapters.0.after.0: expected a chapter of this request, or one that is there or being written, got "c9"',
    );
  });

  it('waits for one that is being written, by its task', () => {
    const view = { messages: [], parts: {}, tasks: [{ id: 'c9.1', key: 'c9' }], options: defaultPaneOptions };
    expect(chaptersPane().plan({ chapters: [chapter('c1', { after: ['c9'] })] }, view)).toMatchObject({
      tasks: [{ id: 'c1.1', after: ['c9.1'] }],
    });
  });

  it('refuses a circle and says which', () => {
    const circle = [
      chapter('c1', { after: ['c3'] }),
      chapter('c2', { after: ['c1'] }),
      chapter('c3', { after: ['c2'] }),
    ];
    expect(refusal({ chapters: [chapter('c0'), ...circle], parallel: true })).toBe(
      'chapters: expected an order without a circle, got c1 after c3 after c2 after c1',
    );
    expect(refusal({ chapters: [chapter('c1', { after: ['c1'] })] })).toContain('got c1 after c1');
    // In sequence the first one cannot wait for the second.
    const backwards = [chapter('c1', { after: ['c2'] }), chapter('c2')];
    expect(refusal({ chapters: backwards })).toContain('without a circle');
    expect(orders({ chapters: backwards, parallel: true })).toEqual(['c1.1 < c2.1', 'c2.1']);
  });

  it('puts a new chapter behind all that are there, and one that is rewritten where the request says', () => {
    const parts = { c1: there('c1'), c2: there('c2'), c3: there('c3') };
    expect(onePlan({ chapters: [chapter('c4')] }, parts).input['before']).toEqual(['c1', 'c2', 'c3']);
    expect(onePlan({ chapters: [chapter('c4', { after: ['c1'] })] }, parts).input['before']).toEqual([
      'c2',
      'c3',
      'c1',
    ]);
    expect(onePlan({ chapters: [chapter('c2')], mode: 'rewrite' }, parts).input['before']).toEqual([]);
    expect(onePlan({ chapters: [chapter('c2', { after: ['c1'] })], mode: 'rewrite' }, parts).input['before']).toEqual([
      'c1',
    ]);
  });

  it('looks at the 20 nearest chapters', () => {
    const chapters = Array.from({ length: 22 }, (_, index) => chapter(`c${index}`));
    const befores = planned({ chapters }).map((task) => task.input['before']);
    expect(befores[20]).toEqual(chapters.slice(0, 20).map(({ id }) => id));
    expect(befores[21]).toEqual(chapters.slice(1, 21).map(({ id }) => id));
  });
});

describe('[T43] rewrite', () => {
  it('refuses one of a chapter that is not there', () => {
    expect(refusal({ chapters: [chapter('c1')], mode: 'rewrite' })).toBe(
      'chapters.0.id: expected a chapter that is there, to rewrite it, got "c1"',
    );
  });

  it('needs no title and no brief: the chapter has them', () => {
    const task = onePlan({ chapters: [{ id: 'c1' }], mode: 'rewrite', feedback: 'shorter' }, { c1: there('c1') });
    expect(task).toMatchObject({
      id: 'c1.2',
      label: 'Old c1',
      input: { title: 'Old c1', brief: '', feedback: 'shorter' },
    });
  });

  it('gives several in a row names of their own, each after the version before', () => {
    const parts = { c1: there('c1') };
    expect(onePlan({ chapters: [{ id: 'c1' }], mode: 'rewrite' }, parts).id).toBe('c1.2');
    const later = { c1: partOf(chapterValue('a', 'a'), chapterValue('a', 'b')) };
    expect(onePlan({ chapters: [{ id: 'c1' }], mode: 'rewrite' }, later).id).toBe('c1.3');
  });
});

describe('[T44] going back to a version', () => {
  const parts = { c1: partOf(chapterValue('First', 'a'), chapterValue('Second', 'b'), chapterValue('Third', 'c')) };

  it('makes one task that knows the value', () => {
    expect(planned({ revert: { id: 'c1', version: 2 } }, parts)).toEqual([
      {
        id: 'c1.4',
        label: 'Second (version 2)',
        key: 'c1',
        input: { mode: 'revert', chapter: 'c1', version: 2, value: chapterValue('Second', 'b') },
      },
    ]);
  });

  it.each([
    [{ id: 'c1', version: 3 }, 'revert.version: expected one of the earlier versions (2, 1), got 3'],
    [{ id: 'c1', version: 4 }, 'revert.version: expected one of the earlier versions (2, 1), got 4'],
    [{ id: 'c9', version: 1 }, 'revert.id: expected a chapter that is there, got "c9"'],
    [
      { id: 'constructor', version: 1 },
      'revert.id: expected a name that is not built into every object, got "constructor"',
    ],
  ])('refuses %j', (revert, why) => {
    expect(refusal({ revert }, parts)).toBe(why);
  });

  it('says so when there is no earlier version', () => {
    expect(refusal({ revert: { id: 'c1', version: 1 } }, { c1: there('c1') })).toContain('(there are none), got 1');
  });
});
