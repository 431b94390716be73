import type { Socket } from 'node:net';

/**
 * Bytes of the write that the operating system still has in hand; 0 when that cannot be told. A large write is one piece for
 * `writableLength`, so a slow reader that makes progress would look stuck; Node's own socket timeout reads the same field.
 */
export function systemQueue(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, '_handle');
  if (typeof handle !== 'object' || handle === null) return 0;
  const size: unknown = Reflect.get(handle, 'writeQueueSize');
  return typeof size === 'number' ? size : 0;
}
