import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { subprotocol } from '../../protocol/names.ts';
import type { CloseName } from '../../protocol/codes.ts';
import type { Edge } from './edge.ts';
import { Connection } from './gateway.ts';

/** Path of the WebSocket endpoint. PROTOCOL section 3. */
export const webSocketPath = '/v1/ws';

/** The WebSocket side of one server: makes a `Connection` of each upgrade and knows all that are open. */
export class Upgrades {
  readonly #edge: Edge;
  readonly #open = new Set<Connection>();
  readonly #wss: WebSocketServer;
  readonly #emptied: (() => void)[] = [];
  #count = 0;

  constructor(edge: Edge) {
    this.#edge = edge;
    this.#wss = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: edge.config.maxFrameBytes,
      // One context per connection costs 6× CPU and 150 KB (measured); frames of ours go straight to the socket.
      perMessageDeflate: false,
      handleProtocols: (offered) => {
        if (offered.has(subprotocol)) return subprotocol;
        // Not ours: selected all the same, so that a browser gets to see close code 4406.
        const [first] = offered;
        return first ?? false;
      },
    });
  }

  /** Open connections. */
  get size(): number {
    return this.#open.size;
  }

  /** Takes one upgrade of `webSocketPath`. Pages that may not connect get close code 4403, which a browser can see, not a failed handshake. */
  accept(request: IncomingMessage, stream: Duplex, head: Buffer): void {
    if (!(stream instanceof Socket)) {
      stream.destroy();
      return;
    }
    const socket = stream;
    socket.setNoDelay(true);
    const refusal = this.#edge.access.refusesPage(request.headers);
    this.#wss.handleUpgrade(request, socket, head, (ws) => {
      this.#count += 1;
      const gauge = this.#edge.metrics.connections.with({ transport: 'ws' });
      const connection = new Connection(this.#edge, ws, socket, `c${this.#count}`, refusal);
      this.#open.add(connection);
      gauge.add(1);
      ws.on('close', () => {
        this.#open.delete(connection);
        gauge.add(-1);
        if (this.#open.size === 0) for (const resolve of this.#emptied.splice(0)) resolve();
      });
    });
  }

  /** Resolves when no connection is open. */
  emptied(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#emptied.push(resolve));
  }

  /** Starts the closing handshake of every connection. */
  endAll(name: CloseName): void {
    for (const connection of this.#open) connection.end(name);
  }

  /** Cuts what is still open. */
  cutAll(): void {
    for (const connection of this.#open) connection.cut();
  }
}
