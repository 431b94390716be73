import { readFileSync, statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import type { JsonObject } from '../../protocol/records.ts';

/** Largest file of a workflow, in bytes: big ones have some 100 KB. */
const maxWorkflowBytes = 2 * 1024 * 1024;

/** A workflow of ComfyUI, given as the path of a file (relative ones count from `folder`) or as it is; or why it cannot be read. */
export function readWorkflow(
  given: string | { [node: string]: unknown },
  folder: string,
): { workflow: JsonObject } | { problem: string } {
  const name = typeof given === 'string' ? basename(given) : 'the workflow';
  try {
    const workflow: unknown = JSON.parse(
      typeof given === 'string' ? read(resolve(folder, given)) : JSON.stringify(given),
    );
    if (!isJsonObject(workflow)) return { problem: `expected a workflow in ${name}, got JSON that is no object` };
    return { workflow };
  } catch (error) {
    // The message of JSON.parse quotes the text around the fault.
    if (error instanceof SyntaxError) return { problem: `expected JSON in ${name}, got something else` };
    const reason = error instanceof Error ? error.message : String(error);
    return { problem: `expected a file that can be read, got ${reason}` };
  }
}

function read(path: string): string {
  const { size } = statSync(path);
  if (size > maxWorkflowBytes) throw new Error(`${size} bytes in ${basename(path)}, more than ${maxWorkflowBytes}`);
  return readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
}

/** What JSON.parse has made is JSON all the way down. */
function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
