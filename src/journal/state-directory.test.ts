import { homedir } from 'node:os';
import { resolve } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { stateDirectory } from './index.ts';

/** As another user would see it. */
function as(uid: number, env: Readonly<Record<string, string | undefined>>): void {
  vi.spyOn(process, 'getuid').mockReturnValue(uid);
  for (const name of ['BLOCKFERRY_STATE_DIR', 'XDG_STATE_HOME']) vi.stubEnv(name, env[name]);
}

describe('the state directory', () => {
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  test('is the option, then the environment, then the one of the user', () => {
    as(0, { BLOCKFERRY_STATE_DIR: '/env', XDG_STATE_HOME: '/xdg' });
    expect(stateDirectory('some/where')).toBe(resolve('some/where'));
    expect(stateDirectory()).toBe('/env');
    as(0, { XDG_STATE_HOME: '/xdg' });
    expect(stateDirectory()).toBe('/var/lib/blockferry');
    as(1000, { XDG_STATE_HOME: '/xdg' });
    expect(stateDirectory()).toBe('/xdg/blockferry');
  });

  test.each([undefined, '', 'relative'])('ignores XDG_STATE_HOME=%s', (value) => {
    as(1000, { BLOCKFERRY_STATE_DIR: '', XDG_STATE_HOME: value });
    expect(stateDirectory()).toBe(`${homedir()}/.local/state/blockferry`);
  });
});
