import type { Image } from '../ports/models.ts';

/** The kind of picture by its first bytes, whatever the sender called it; undefined = none that is known. */
export function sniff(bytes: Uint8Array): Image['extension'] | undefined {
  const data = view(bytes);
  if (starts(data, 0, '\x89PNG\r\n\x1a\n')) return 'png';
  if (starts(data, 0, '\xff\xd8\xff')) return 'jpg';
  if (starts(data, 0, 'RIFF') && starts(data, 8, 'WEBP')) return 'webp';
  if (starts(data, 0, 'GIF87a') || starts(data, 0, 'GIF89a')) return 'gif';
  return isSvg(data) ? 'svg' : undefined;
}

/** Whether the picture has its end: a download or a base64 text that was cut has a good beginning only. */
export function isWhole(bytes: Uint8Array, extension: Image['extension']): boolean {
  const data = view(bytes);
  switch (extension) {
    case 'png':
      return hasPngEnd(data);
    case 'jpg':
      // Cameras and editors append data after the end mark.
      return data.subarray(-4096).includes(Buffer.from([0xff, 0xd9]));
    case 'webp':
      return data.length >= 12 && data.length >= data.readUInt32LE(4) + 8;
    case 'gif':
      return data.subarray(-16).includes(0x3b);
    case 'svg':
      return /<\/svg\s*>\s*(<!--[\s\S]*-->\s*)?$/.test(data.subarray(-4096).toString('utf8'));
  }
}

function hasPngEnd(data: Buffer): boolean {
  let at = 8;
  while (at + 12 <= data.length) {
    if (starts(data, at + 4, 'IEND')) return true;
    at += 12 + data.readUInt32BE(at);
  }
  return false;
}

/** An `<svg>` root, after what XML allows before it. */
function isSvg(data: Buffer): boolean {
  let text = data
    .subarray(0, 4096)
    .toString('utf8')
    .replace(/^\uFEFF/, '');
  for (;;) {
    text = text.trimStart();
    const prologue = /^(<\?[\s\S]*?\?>|<!--[\s\S]*?-->|<!doctype[^>]*>)/i.exec(text);
    if (prologue === null) return /^<(\w+:)?svg[\s>/]/i.test(text);
    text = text.slice(prologue[0].length);
  }
}

function starts(data: Buffer, at: number, magic: string): boolean {
  return data.toString('latin1', at, at + magic.length) === magic;
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
