import { expect, it } from 'vitest';
import { emptyState } from '../../../src/protocol/state.ts';
import type { Rec, TaskChange } from '../../../src/protocol/records.ts';
import { measure } from '../../../src/server/sessions/reports.ts';
import { createMetrics } from '../../../src/server/telemetry.ts';

const stamp = { seq: 1, at: '2026-11-20T18:00:00.000Z' } as const;
const where = { pane: 'works', run: 'r' } as const;

it('counts each task that has ended, wherever a record says so, and none that has not', () => {
  const metrics = createMetrics({ eventLoop: false });
  const say = (record: Rec) => measure({ metrics }, record, emptyState('s'));
  const tasks: TaskChange[] = [
    { id: 'a', status: 'failed' },
    { id: 'b', status: 'running' },
    { id: 'c', attempt: 2 },
  ];
  say({ ...stamp, ...where, type: 'tasks', tasks });
  say({
    ...stamp,
    ...where,
    type: 'pane.content',
    key: 'k',
    value: 1,
    version: 1,
    task: { id: 'd', status: 'succeeded' },
  });
  say({
    ...stamp,
    ...where,
    type: 'pane.phase',
    generation: 1,
    phase: 'updated',
    attempt: 1,
    tasks: [{ id: 'e', status: 'succeeded' }],
  });
  const page = metrics.registry.render();
  expect(page).toContain('mullion_tasks_total{pane="works",outcome="failed"} 1');
  expect(page).toContain('mullion_tasks_total{pane="works",outcome="succeeded"} 2');
  expect(page).not.toContain('outcome="running"');
});
