/** An image prompt in a text. */
export interface Found {
  /** Where its tag begins, in UTF-16 units of the whole text. */
  offset: number;
  /** Length of its tag, in UTF-16 units. */
  length: number;
  /** What is to be drawn: unescaped and trimmed. */
  prompt: string;
}

/** Reads a text as it grows. However it is cut into pieces, what is found is the same. */
export interface Scanner {
  /** The next piece; the prompts that it completes, each once, in the order of the text. Cost: linear in the piece. */
  push(chunk: string): Found[];
  /** The text is whole; the prompts that only its end completes. */
  end(): Found[];
}

/** Longest prompt between its quotes, in UTF-16 units, escapes included. A tag with a longer one is none. */
export const maxPromptUnits = 2_000;

/** Most blanks at each place of a tag where there may be some: keeps the longest tag bounded. */
const maxBlanks = 32;

/** The tags, cut at their prompts. `~` stands for up to `maxBlanks` blanks, `_` for `-` or `_`; letters match both cases. */
const forms = {
  comment: { opening: '<!--~img_prompt~=~"', closing: '~-->' },
  element: { opening: '<img_prompt~=~"', closing: '~>' },
} as const;

const quote = 0x22;
const backslash = 0x5c;

/** Finds `<!--img-prompt="…"-->`, `<img-prompt="…">` and the same with `img_prompt`, each on the piece that closes it. */
export function createScanner(): Scanner {
  const tags = createTagScanner();
  return {
    push: (chunk) => {
      const found = tags.push(chunk);
      return found.length > 0 ? found.filter(({ prompt }) => prompt !== '') : found;
    },
    end: () => [],
  };
}

/** The same, with the tags whose prompt is blank: they are markup too. */
export function createTagScanner(): Scanner {
  return new TagScanner();
}

/** A prompt as it is meant: `\"` and `\\` are a quote and a backslash, blanks around it are nothing. */
export function cleanPrompt(raw: string): string {
  return (raw.includes('\\') ? raw.replaceAll(/\\(["\\])/g, '$1') : raw).trim();
}

/**
 * At any time at most one opening is being read and one tag is open, each unit is looked at once, and nothing is kept but the prompt so far.
 * That suffices because an opening that is complete inside an open tag takes its place: a tag that was never closed cannot hide the next one.
 */
class TagScanner implements Scanner {
  /** Where the current piece begins. */
  #base = 0;
  readonly #opening = new FormReader();
  #openingAt = 0;
  readonly #closing = new FormReader();
  /** The open tag: reading its prompt, the unit after a backslash, or what closes it. */
  #state: 'none' | 'prompt' | 'escaped' | 'closing' = 'none';
  #tagAt = 0;
  #promptAt = 0;
  /** What earlier pieces hold of the prompt. */
  #kept = '';

  push(chunk: string): Found[] {
    const found: Found[] = [];
    for (let i = 0; i < chunk.length; i += 1) {
      if (this.#state === 'none' && !this.#opening.reading) {
        i = chunk.indexOf('<', i);
        if (i < 0) break;
      }
      const unit = chunk.charCodeAt(i);
      if (this.#opens(unit, this.#base + i)) this.#openTag(this.#base + i + 1);
      else if (this.#state !== 'none' && this.#closes(unit, i, chunk)) found.push(this.#takeTag(this.#base + i + 1));
    }
    if (this.#state === 'prompt' || this.#state === 'escaped') this.#keep(chunk, chunk.length);
    this.#base += chunk.length;
    return found;
  }

  end(): Found[] {
    return [];
  }

  /** True on the quote that begins a prompt. */
  #opens(unit: number, at: number): boolean {
    const opening = this.#opening;
    if (unit === 0x3c) {
      this.#openingAt = at;
      opening.begin(forms.element.opening, 1);
      return false;
    }
    if (!opening.reading) return false;
    if (unit === 0x21 && opening.read === 1) {
      opening.begin(forms.comment.opening, 2);
      return false;
    }
    return opening.take(unit);
  }

  #openTag(promptAt: number): void {
    const { closing } = this.#opening.form === forms.comment.opening ? forms.comment : forms.element;
    this.#closing.begin(closing, 0);
    this.#state = 'prompt';
    this.#tagAt = this.#openingAt;
    this.#promptAt = promptAt;
    this.#kept = '';
  }

  /** True on the unit that closes the open tag. Gives the tag up when it cannot become one any more. */
  #closes(unit: number, i: number, chunk: string): boolean {
    if (this.#state === 'closing') {
      if (this.#closing.take(unit)) return true;
      if (!this.#closing.reading) this.#state = 'none';
      return false;
    }
    if (this.#state === 'escaped') this.#state = 'prompt';
    else if (unit === backslash) this.#state = 'escaped';
    else if (unit === quote) {
      this.#keep(chunk, i);
      this.#state = 'closing';
      return false;
    }
    if (this.#base + i + 1 - this.#promptAt > maxPromptUnits) this.#dropTag();
    return false;
  }

  #keep(chunk: string, end: number): void {
    this.#kept += chunk.slice(Math.max(0, this.#promptAt - this.#base), end);
  }

  #takeTag(end: number): Found {
    const found = { offset: this.#tagAt, length: end - this.#tagAt, prompt: cleanPrompt(this.#kept) };
    this.#dropTag();
    return found;
  }

  #dropTag(): void {
    this.#state = 'none';
    this.#kept = '';
  }
}

/** Follows a form unit by unit. */
class FormReader {
  form = '';
  /** Units of the form that have been read; blanks do not count. */
  read = 0;
  reading = false;
  #blanks = 0;

  begin(form: string, read: number): void {
    this.form = form;
    this.read = read;
    this.reading = true;
    this.#blanks = 0;
  }

  /** True when the unit is the last one of the form. After a unit that does not belong there, nothing is being read. */
  take(unit: number): boolean {
    const { form } = this;
    let meant = form.charCodeAt(this.read);
    if (meant === 0x7e) {
      if (this.#blanks < maxBlanks && isBlank(unit)) {
        this.#blanks += 1;
        return false;
      }
      this.#blanks = 0;
      this.read += 1;
      meant = form.charCodeAt(this.read);
    }
    this.read += 1;
    const fits = isMeant(meant, unit);
    this.reading = fits && this.read < form.length;
    return fits && !this.reading;
  }
}

function isMeant(form: number, unit: number): boolean {
  if (unit === form) return true;
  if (form === 0x5f) return unit === 0x2d;
  return form >= 0x61 && form <= 0x7a && (unit | 0x20) === form;
}

function isBlank(unit: number): boolean {
  return unit === 0x20 || (unit >= 0x09 && unit <= 0x0d) || unit === 0xa0;
}
