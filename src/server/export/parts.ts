import { assetPattern } from '../../protocol/names.ts';
import type { Json, JsonObject } from '../../protocol/records.ts';
import type { Part } from '../../protocol/view.ts';

/** The name of the asset behind a path of this session; null for anything else: nothing else is linked or read. */
export function assetNameOf(session: string, path: Json | undefined): string | null {
  const prefix = `/v1/assets/${session}/`;
  if (typeof path !== 'string' || !path.startsWith(prefix)) return null;
  const name = path.slice(prefix.length);
  return assetPattern.test(name) ? name : null;
}

/** Parts by their keys, in the order in which people count: `c2` before `c10`. */
export function inOrder(parts: { [key: string]: Part }): Part[] {
  const place = (key: string): string => key.replace(/\d+/g, (digits) => digits.padStart(16, '0'));
  return Object.entries(parts)
    .map(([key, part]) => ({ place: place(key), part }))
    .toSorted((a, b) => (a.place < b.place ? -1 : a.place > b.place ? 1 : 0))
    .map(({ part }) => part);
}

/** The text under a key; '' for none. */
export function textOf(object: JsonObject, key: string): string {
  const value = object[key];
  return typeof value === 'string' ? value : '';
}
