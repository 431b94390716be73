import { describe, expect, it } from 'vitest';
import { parseArguments } from '../../../src/server/cli.ts';
import { checkFile } from '../../../src/server/config/config-schema.ts';
import { resolveConfig } from '../../../src/server/config/config.ts';

describe('where exports go', () => {
  const dir = (file: object, flag?: string, variable?: string) => {
    const loaded = { file, name: 'mullion.config.json', folder: '/etc/mullion' };
    const env = variable === undefined ? {} : { MULLION_EXPORT: variable };
    return resolveConfig(loaded, flag === undefined ? {} : { export: flag }, env, '/home/me').export.dir;
  };

  it('[X3] nowhere, unless the file, the environment or a flag says so; each wins over the one before', () => {
    const file = { export: { dir: 'notes' } };
    expect(dir({})).toBeNull();
    expect(dir({ export: {} })).toBeNull();
    expect(dir(file)).toBe('/etc/mullion/notes');
    expect(dir(file, undefined, 'env')).toBe('/home/me/env');
    expect(dir(file, undefined, '')).toBe('/etc/mullion/notes');
    expect(dir(file, 'flag', 'env')).toBe('/home/me/flag');
    expect(dir(file, '/tmp/x')).toBe('/tmp/x');
  });

  it('[X3] --export DIR', () => {
    expect(parseArguments(['serve', '--export', 'out'])).toEqual({ command: 'serve', flags: { export: 'out' } });
    expect(parseArguments(['serve', '--export'])).toMatchObject({ command: 'refused', exitCode: 2 });
  });

  it('[X3] refuses an empty folder and unknown keys', () => {
    expect(checkFile({ export: { dir: 'x' } }, 'f')).toEqual({ file: { export: { dir: 'x' } } });
    expect(checkFile({ export: { dir: ' ' } }, 'f')).toHaveProperty('problems');
    expect(checkFile({ export: { folder: 'x' } }, 'f')).toMatchObject({
      problems: [expect.stringContaining('export.folder')],
    });
  });
});
