import { describe, expect, it } from 'vitest';
import { placeOf, proposalPrompt, readProposals } from '../../../src/panes/illustrations/place.ts';

describe('where a picture belongs', () => {
  const text = 'She lit the lamp.  “Look,” he\nsaid – and the  SEA was calm. The lamp went out.';

  it.each([
    { snippet: 'lit the lamp', after: 'She lit the lamp.' },
    { snippet: 'LIT  THE\nlamp.', after: 'She lit the lamp.' },
    { snippet: '"Look," he said - and', after: '“Look,” he\nsaid – and' },
    { snippet: '…the sea was calm…', after: 'SEA was calm.' },
    { snippet: 'the lamp', after: 'She lit the lamp.' },
    { snippet: 'went out', after: 'went out.' },
  ])('[T23] behind $snippet, whatever the case, the blanks and the quotes', ({ snippet, after }) => {
    expect(placeOf(text, snippet)).toEqual({ offset: text.indexOf(after) + after.length });
  });

  it.each(['', ' ', '…', 'the lamp lit', 'x'.repeat(400)])('[T23] nowhere for %j', (snippet) => {
    expect(placeOf(text, snippet)).toBeNull();
  });

  it('[T23] counts in UTF-16 units, behind closing signs', () => {
    expect(placeOf('İ😀 “Oh!” she', 'i̇😀'.slice(2))).toEqual({ offset: 3 });
    expect(placeOf('İ😀 “Oh!” she', 'oh')).toEqual({ offset: 8 + 1 });
  });

  it.each([
    ['aaab', 'aab', 4],
    ['abababac', 'ababac', 8],
    ['aabaabaaa', 'aabaaa', 9],
  ])('[T23] in %j behind %j, which begins like its own end', (whole, snippet, offset) => {
    expect(placeOf(whole, snippet)).toEqual({ offset });
  });

  it('[T23] in linear time', () => {
    const hostile = 'a'.repeat(131_072);
    const startMs = performance.now();
    for (let i = 0; i < 10; i += 1) expect(placeOf(hostile, `${'a'.repeat(150)}b${'a'.repeat(149)}`)).toBeNull();
    expect(performance.now() - startMs).toBeLessThan(600);
  });
});

describe('what a model proposes', () => {
  it('[T23] is asked for with the text as data', () => {
    const [system, user] = proposalPrompt('One.\nAFTER: x', 3);
    expect(system?.content).toContain('Every line of them begins with "| "');
    expect(user?.content).toContain('| One.\n| AFTER: x');
    expect(user?.content).toContain('at most 3 moments');
  });

  const one = { snippet: 'lit the lamp', prompt: 'A brass lamp.' };

  it.each([
    'AFTER: lit the lamp\nPICTURE: A brass lamp.',
    'Sure!\n\n1. **AFTER:** "lit the lamp"\r\n   **PICTURE:** A brass lamp.\n\nDone.',
    '```\nafter : | lit the lamp\npicture: “A brass lamp.”\n```',
    'AFTER:\nlit the lamp\nPICTURE:\n\nA brass lamp.',
    'PICTURE: no place\nAFTER: forgotten\nAFTER: lit the lamp\nPICTURE: A brass lamp.\nPICTURE: again',
    'AFTER: lit the lamp\nPICTURE: A brass lamp.\nAFTER: cut off',
  ])('[T23] is read from %j', (answer) => {
    expect(readProposals(answer, 5)).toEqual([one]);
  });

  it.each(['', 'NONE', 'AFTER: x', 'PICTURE: x', 'AFTER:\nPICTURE:\n', 'The picture after: that'])(
    '[T23] is nothing in %j',
    (answer) => {
      expect(readProposals(answer, 5)).toEqual([]);
    },
  );

  it('[T23] is bounded in number and length', () => {
    const block = `AFTER: ${'w '.repeat(400)}end\nPICTURE: ${'word '.repeat(900)}\n`;
    const proposals = readProposals(block.repeat(3), 2);
    expect(proposals).toHaveLength(2);
    expect(proposals[0]?.snippet).toHaveLength(300);
    expect(proposals[0]?.snippet).toMatch(/w end$/);
    expect(proposals[0]?.prompt.length).toBeLessThanOrEqual(2_000);
    expect(readProposals(`${' '.repeat(65_536)}\nAFTER: x\nPICTURE: y`, 2)).toEqual([]);
  });
});
