import type { limits } from './names.ts';

type Limits = typeof limits;

// The numbers of `limits` that the browser's client needs, the fold included, one by one: the bundle then holds these and not the whole
// table. Their types are those of the table, so that a change there does not compile until it is made here as well.
export const maxFrameBytes: Limits['maxFrameBytes'] = 262_144;
export const maxParts: Limits['maxParts'] = 256;
export const partVersions: Limits['partVersions'] = 5;
export const viewMessages: Limits['viewMessages'] = 200;
export const viewTextBytes: Limits['viewTextBytes'] = 262_144;
