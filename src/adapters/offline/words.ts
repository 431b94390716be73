/** Words, sentences and names of a text, in any language that Intl.Segmenter knows, without a word list for each. */

const sentenceSegmenter = new Intl.Segmenter('en', { granularity: 'sentence' });
const wordSegmenter = new Intl.Segmenter('en', { granularity: 'word' });

/** Words that say nothing about what a sentence is about: English, Spanish; Chinese and Japanese ones of two characters and more. */
const stopWords = new Set(
  `a an the and or but nor so yet if then than as at by for from in into of off on onto out over to up with without within about after before
  again all also am any are aren't be been being both can cannot can't could did didn't do does doesn't doing don't down each few had has have
  having he her here hers him his how i i'm i'll i've it it's its itself just let like me more most my no not now of once one only other our
  own same shall she should some such that that's the their them there these they this those through too two under until us very was wasn't
  we were what when where which while who whom why will won't would you you're your yours ok okay yes thanks thank please hello hi hey sure
  well oh really get got go goes going come comes say says said tell tells told
  el la los las un una unos unas y o pero si no de del al a en con sin por para que qué se su sus lo le les me mi mis te tu tus nos es son era
  eran fue fueron ha han he había hay está están estaba muy más ya como cómo cuando donde dónde este esta esto ese esa eso aquí allí yo tú él
  ella ellos ellas nosotros también entonces gracias vale hola
  我们 你们 他们 她们 这个 那个 什么 怎么 没有 一个 可以 因为 所以 但是 就是 自己 已经 还是 那里 这里 谢谢 好的
  です ます でした ました それ これ あれ ここ そこ どこ という そして しかし だから ありがとう はい`
    .split(/\s+/u)
    .filter((word) => word !== ''),
);

const abbreviation =
  /(?:^|[\s("'“‘])(?:Mr|Mrs|Ms|Dr|St|Prof|Sr|Sra|Srta|Jr|Capt|Lt|Col|Gen|Sgt|Rev|Ud|Uds|No|vs|etc|[A-Z])\.\s*$/u;
const cjk = /[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]/u;
const onlyHiragana = /^[\u3040-\u309f]+$/u;

/** True if the text is mainly Chinese or Japanese: no blanks between words, and a character says more than in Latin script. */
export function isDense(text: string): boolean {
  const sample = text.slice(0, 400);
  let dense = 0;
  for (const character of sample) if (cjk.test(character)) dense += 1;
  return dense * 3 > sample.length;
}

/** Text without Markdown signs and code, one paragraph a line. */
export function plainText(text: string): string {
  return (
    text
      .replace(/```[\s\S]{0,8000}?(?:```|$)/gu, '\n')
      .replace(/!\[[^\]\n]{0,300}\]\([^)\s]{0,300}\)/gu, ' ')
      .replace(/\[([^\]\n]{1,300})\]\([^)\s]{1,300}\)/gu, '$1')
      .replace(/^[ \t]{0,8}(?:#{1,6}|>+|[-*+]|\d{1,3}\.)[ \t]+/gmu, '')
      .replace(/[*`~]{1,3}/gu, '')
      // Not inside a word: OPENAI_BASE_URL is one.
      .replace(/(?<![\p{L}\p{N}])_{1,3}|_{1,3}(?![\p{L}\p{N}])/gu, '')
      .replace(/[^\S\n]+/gu, ' ')
  );
}

/** The sentences of a text, trimmed. Joins again what the segmenter cuts at abbreviations and after `"Stop!" she said`. */
export function* sentencesOf(text: string): Generator<string> {
  for (const line of plainText(text).split('\n')) {
    let open = '';
    for (const { segment } of sentenceSegmenter.segment(line)) {
      const continues = open !== '' && (abbreviation.test(open) || /^["'”’»]?\s*\p{Ll}/u.test(segment));
      if (open !== '' && !continues) {
        yield open.trim();
        open = '';
      }
      open += segment;
    }
    if (open.trim() !== '') yield open.trim();
  }
}

/** The words of a text as they stand in it. */
export function wordsOf(text: string): string[] {
  const words: string[] = [];
  for (const part of wordSegmenter.segment(text)) if (part.isWordLike === true) words.push(part.segment);
  return words;
}

/** One form for a word, its plural and its capitalised spelling. */
export function fold(word: string): string {
  const lower = word
    .normalize('NFKC')
    .toLowerCase()
    .replace(/[’']s$/u, '');
  return lower.length > 4 && /[^s]s$/u.test(lower)
    ? lower.replace(/(?<=sh|ch|x)es$|ies$|s$/u, (end) => (end === 'ies' ? 'y' : ''))
    : lower;
}

/** The words that carry meaning, folded. */
export function termsOf(words: readonly string[]): string[] {
  return words.map(fold).filter((word) => {
    if (stopWords.has(word)) return false;
    // Single characters: particles of Japanese, letters; a single Han character is a word of its own.
    if (word.length === 1) return /[\u3400-\u9fff]/u.test(word);
    return !onlyHiragana.test(word) && !/^\d+$/u.test(word);
  });
}

/** Capitalised, but nobody's name. */
const noNames = new Set(
  'Mr Mrs Ms Dr Sr Sra Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August September October November December God English French Spanish'.split(
    ' ',
  ),
);

/** A name as it is written, how often it occurs, and whether it stands where a place stands (`at Saltmere`). */
export interface Name {
  name: string;
  count: number;
  place: boolean;
}

/**
 * Proper names in Latin script: capitalised inside a sentence, and not also written small. Katakana words that occur twice count for Japanese.
 * Most frequent first.
 */
export function namesOf(sentences: readonly (readonly string[])[]): Name[] {
  const found = new Map<string, { count: number; inside: number; place: number }>();
  const small = new Set<string>();
  for (const words of sentences) {
    for (const [index, raw] of words.entries()) {
      const word = raw.replace(/[’']s$/u, '');
      if (/^\p{Ll}/u.test(word)) small.add(word);
      const latin = /^\p{Lu}\p{Ll}[\p{L}’'-]*$/u.test(word) && !stopWords.has(word.toLowerCase()) && !noNames.has(word);
      if (!latin && !/^[\u30a1-\u30fa\u30fc]{2,}$/u.test(word)) continue;
      const entry = found.get(word) ?? { count: 0, inside: 0, place: 0 };
      entry.count += 1;
      if (latin && index > 0) entry.inside += 1;
      const before = words[index - 1]?.toLowerCase() ?? '';
      if (/^(?:in|at|to|from|near|towards?|of|en|hacia|desde|hasta)$/u.test(before) && index > 0) entry.place += 1;
      found.set(word, entry);
    }
  }
  return [...found]
    .filter(([name, { count, inside }]) => (cjk.test(name) ? count > 1 : inside > 0 && !small.has(name.toLowerCase())))
    .map(([name, { count, place }]) => ({ name, count, place: place * 2 > count }))
    .sort((a, b) => b.count - a.count);
}
