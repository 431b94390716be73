import { createHash } from 'node:crypto';

/** The hash that an export with this text must have: of all that follows its second line. */
export function hashOfRest(text: string): string {
  return createHash('sha256')
    .update(text.slice(text.indexOf('\n', text.indexOf('\n') + 1) + 1))
    .digest('hex');
}
