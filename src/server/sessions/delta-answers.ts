import type { CommandOf } from '../../protocol/commands.ts';
import type { State } from '../../protocol/state.ts';
import { wholeCharacters } from '../../protocol/text.ts';
import type { Draft } from './draft.ts';

interface Waiting {
  /** What was proposed when the delta came: before that is durable its message may not be there. */
  seq: number;
  message: string;
  /** Length of the text that must be on record. */
  end: number;
  answer: (error?: Error) => void;
}

/** Deltas that want an ack and whose text is not on record yet: each is answered by the first commit that has it. */
export class DeltaAnswers {
  #waiting: Waiting[] = [];

  /** Keeps the answer until the text is committed. False = it is on record already, or the message has ended. */
  keep(
    delta: CommandOf<'message.delta'>,
    draft: Draft | undefined,
    proposed: State,
    answer: Waiting['answer'],
  ): boolean {
    if (draft === undefined) return false;
    // Half a character is not recorded before its other half is there.
    const end = wholeCharacters(draft.text.slice(0, delta.at + delta.text.length)).length;
    if (draft.recorded >= end) return false;
    this.#waiting.push({ seq: proposed.view.seq, message: delta.message, end, answer });
    return true;
  }

  /** Answers what this committed state has; a message that is not open any more has all of its text. */
  release(committed: State): void {
    if (this.#waiting.length === 0) return;
    const lengthOf = (message: string): number => committed.private.open[message]?.length ?? Number.POSITIVE_INFINITY;
    const due = this.#waiting.filter(({ seq, message, end }) => seq <= committed.view.seq && lengthOf(message) >= end);
    this.#waiting = this.#waiting.filter((waiting) => !due.includes(waiting));
    for (const { answer } of due) answer();
  }

  /** Nothing of what waits will be stored. */
  drop(error: Error): void {
    const lost = this.#waiting;
    this.#waiting = [];
    for (const { answer } of lost) answer(error);
  }
}
