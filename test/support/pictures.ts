/** The smallest pictures of their kind, one pixel each. The PNG is in hostile-cases.ts. */

/** A GIF. */
export const gif: Buffer = Buffer.from('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7', 'base64');

/** A WebP (VP8). */
export const webp: Buffer = Buffer.from('UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA', 'base64');

/** The frame of a JPEG: start, one application segment, end. Nothing here decodes it. */
export const jpg: Buffer = Buffer.from('ffd8ffe000104a46494600010100000100010000ffd9', 'hex');
