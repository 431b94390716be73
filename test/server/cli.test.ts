import { describe, expect, test } from 'vitest';
import { parseArguments } from '../../src/server/cli.ts';

describe('commands', () => {
  test('serve takes host, port, data, config and log level as they were typed', () => {
    const line = 'serve --host 127.0.0.1 --port 0 --data 007 --config a.json --log-level=debug';
    expect(parseArguments(line.split(' '))).toEqual({
      command: 'serve',
      flags: { host: '127.0.0.1', port: '0', data: '007', config: 'a.json', logLevel: 'debug' },
    });
    expect(parseArguments(['serve'])).toEqual({ command: 'serve', flags: {} });
    expect(parseArguments(['check', '--config', 'x'])).toEqual({ command: 'check', flags: { config: 'x' } });
  });

  test('replay takes a file, and a token is never turned into a number', () => {
    expect(parseArguments(['replay', 'chat.md'])).toEqual({
      command: 'replay',
      file: 'chat.md',
      delayMs: 0,
      flags: {},
    });
    const line = 'replay --url http://h:1 --token 0123 --session s-1 --delay 250 --user 1e3 chat.md --data d';
    expect(parseArguments(line.split(' '))).toEqual({
      command: 'replay',
      file: 'chat.md',
      url: 'http://h:1',
      token: '0123',
      session: 's-1',
      delayMs: 250,
      user: '1e3',
      flags: { data: 'd' },
    });
  });

  test('a value may begin with one dash', () => {
    expect(parseArguments(['replay', 'f', '--token=-abc'])).toMatchObject({ token: '-abc' });
    expect(parseArguments(['replay', '--', '--odd-name.md'])).toMatchObject({ file: '--odd-name.md' });
  });

  test('help and version', () => {
    for (const argv of [[], ['--help'], ['-h'], ['help']]) {
      const asked = parseArguments(argv);
      expect(
        asked.command === 'help' && ['serve', 'check', 'replay FILE'].every((name) => asked.text.includes(name)),
      ).toBe(true);
    }
    const own = parseArguments(['check', '--help']);
    expect(own.command === 'help' && own.text.includes('check') && !own.text.includes('replay')).toBe(true);
    for (const argv of [['--version'], ['-v'], ['version']])
      expect(parseArguments(argv)).toEqual({ command: 'version' });
  });
});

describe('refusals, exit 2', () => {
  test.each([
    ['start', 'expected a command (serve, check, replay), got "start"'],
    ['--port 1', 'expected a command (serve, check, replay), got the option --port'],
    ['constructor', 'got "constructor"'],
    [
      'serve --prot 1',
      'serve: expected one of --host, --port, --export, --config, --data, --log-level, got the unknown option --prot',
    ],
    ['serve -p 1', 'got the unknown option -p'],
    ['serve --__proto__ 1', 'got the unknown option --__proto__'],
    ['serve --no-port', 'got the unknown option --no-port'],
    ['check --port 1', 'check: expected one of --config, --data, --log-level, got the unknown option --port'],
    ['serve --port', 'serve: expected --port NUMBER, got no value'],
    ['serve --port --host x', 'serve: expected --port NUMBER, got no value'],
    ['serve --port=', 'serve: expected --port NUMBER, got no value'],
    ['serve --port 1 --port 2', 'serve: expected --port once, got it twice'],
    ['serve now', 'serve: expected no arguments, got also "now"'],
    ['replay', 'replay: expected a FILE, got none'],
    ['replay a b', 'replay: expected one FILE, got also "b"'],
    ['replay a --delay 1.5', 'replay: expected --delay in whole ms, got "1.5"'],
    ['replay a --delay soon', 'got "soon"'],
    ['replay a --url localhost:4747', 'replay: expected --url such as http://127.0.0.1:4747, got "localhost:4747"'],
    ['replay a --session a/b', 'replay: expected --session of 1 to 64 characters'],
  ])('%s', (line, message) => {
    const asked = parseArguments(line.split(' '));
    expect(asked).toMatchObject({ command: 'refused', exitCode: 2 });
    expect(asked.command === 'refused' ? asked.message : '').toContain(message);
  });
});
