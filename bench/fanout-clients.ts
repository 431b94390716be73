// Child of fanout.bench.ts: many cheap subscribers. Raw TCP, one shared read buffer, header-only frame parsing; counts, reads nothing.
import net from 'node:net';

/** What the parent asks for. */
export interface ClientsConfig {
  groups: { port: number; path: string; protocol: string; hello: string[] }[];
  clients: number;
  /** Frames of at least so many bytes are counted. */
  minBytes: number;
}

interface Reader {
  handshake: string | null;
  /** Payload bytes still to skip. */
  left: number;
  header: number[];
  counts: boolean;
}

const shared = Buffer.allocUnsafe(1 << 16);
const frames: number[] = [];

function read(reader: Reader, group: number, bytes: number, minBytes: number): void {
  let at = 0;
  if (reader.handshake !== null) {
    const text = reader.handshake + shared.toString('latin1', 0, bytes);
    const end = text.indexOf('\r\n\r\n');
    reader.handshake = end < 0 ? text : null;
    if (end < 0) return;
    if (!text.startsWith('HTTP/1.1 101')) throw new Error(text.slice(0, 200));
    at = bytes - (text.length - end - 4);
  }
  while (at < bytes) {
    if (reader.left > 0) {
      const skipped = Math.min(reader.left, bytes - at);
      reader.left -= skipped;
      at += skipped;
      if (reader.left === 0 && reader.counts) frames[group] = (frames[group] ?? 0) + 1;
      continue;
    }
    reader.header.push(shared[at] ?? 0);
    at += 1;
    const [, short = 0, high = 0, low = 0] = reader.header;
    const length = short & 127;
    if (length === 127) throw new Error('expected frames below 64 KiB');
    if (reader.header.length < (length === 126 ? 4 : 2)) continue;
    reader.left = length === 126 ? high * 256 + low : length;
    reader.counts = reader.left >= minBytes;
    reader.header = [];
  }
}

function masked(text: string): Buffer {
  const body = Buffer.from(text);
  return Buffer.concat([Buffer.from([0x81, 0x80 | body.length, 0, 0, 0, 0]), body]);
}

function open(config: ClientsConfig, group: number): void {
  const target = config.groups[group];
  if (target === undefined) return;
  const reader: Reader = { handshake: '', left: 0, header: [], counts: false };
  const socket = net.connect({
    port: target.port,
    host: '127.0.0.1',
    onread: {
      buffer: shared,
      callback: (bytes) => {
        read(reader, group, bytes, config.minBytes);
        return true;
      },
    },
  });
  const protocol = target.protocol === '' ? '' : `Sec-WebSocket-Protocol: ${target.protocol}\r\n`;
  socket.on('connect', () => {
    socket.setNoDelay(true);
    socket.write(
      `GET ${target.path} HTTP/1.1\r\nHost: 127.0.0.1:${target.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${protocol}\r\n`,
    );
    for (const hello of target.hello) socket.write(masked(hello));
  });
  socket.on('error', (error) => {
    throw error;
  });
}

process.once('message', (config: ClientsConfig) => {
  for (const [group] of config.groups.entries()) {
    frames[group] = 0;
    for (let i = 0; i < config.clients; i += 1) open(config, group);
  }
  let last = -1;
  setInterval(() => {
    const total = frames.reduce((sum, count) => sum + count, 0);
    if (total === last) return;
    last = total;
    process.send?.(frames);
  }, 1);
});
process.on('disconnect', () => process.exit(0));
