import type { IncomingMessage } from 'node:http';
import { wireError, type WireError } from '../../protocol/codes.ts';

/**
 * Reads a JSON request body of at most `maxBytes`, or tells why it is not taken. The type is required: a form of a foreign page cannot
 * send it without asking first. Rejects when the client goes away.
 */
export async function readJsonBody(
  request: IncomingMessage,
  maxBytes: number,
): Promise<{ bytes: Buffer } | { refused: WireError }> {
  const type = request.headers['content-type'];
  if (type === undefined || !/^application\/json *(;|$)/i.test(type))
    return { refused: wireError('UNSUPPORTED', 'expected the content type application/json, another or none came') };
  const coding = request.headers['content-encoding'];
  if (coding !== undefined && coding.toLowerCase() !== 'identity')
    return { refused: wireError('UNSUPPORTED', 'expected a body without content encoding') };
  const tooLarge = { refused: wireError('TOO_LARGE', `expected at most ${maxBytes} bytes, more came`) };
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) return tooLarge;
  const chunks: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // What is too much is read and dropped (the request timeout ends it): cutting it off would cost the client our answer.
      if (bytes <= maxBytes) chunks.push(chunk);
      else {
        chunks.length = 0;
        resolve(tooLarge);
      }
    });
    request.on('end', () => resolve({ bytes: Buffer.concat(chunks) }));
    request.on('error', reject);
    request.on('close', () => reject(new Error('the client went away')));
  });
}
