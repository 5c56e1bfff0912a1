// The bytes that the fake monitor sends in the unit tests are those that the installed QEMU sends.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { qemuBuilds } from '../../lab/qemu-builds.ts';
import { RealQemu, rawAnswers } from './testing/real-qemu.ts';
import {
  emptyReturn,
  GREETING,
  HMP_BANNER,
  PARSE_ERROR,
  PRETTY_GREETING,
  resumeEvent,
  statusReturn,
  unknownCommand,
} from './testing/recorded-bytes.ts';

const { builds } = await qemuBuilds();

/** Makes the two independent of the version, which the recording names. */
function withoutVersion(text: string): string {
  return (
    text
      .replaceAll(/"(micro|minor|major)": \d+/g, '"$1": 0')
      .replaceAll(/"package": "[^"]*"/g, '"package": ""')
      // Deprecated in 8.1 and gone from later versions.
      .replaceAll(/"singlestep": false, /g, '')
      .replaceAll(/^QEMU \d+\.\d+\.\d+ /g, 'QEMU 0 ')
  );
}

const line = (execute: string, id: string): string => `${JSON.stringify({ execute, id })}\n`;

test.each(builds)('a session: $label', async ({ system, env }) => {
  await using qemu = await RealQemu.start(system, { env });
  const lines = [
    line('qmp_capabilities', 'a'),
    line('query-status', 'b'),
    line('query-statuz', 'c'),
    line('cont', 'd'),
    '{"x\n',
  ];
  const answers = await rawAnswers(qemu.path, lines, 7);
  const [, seconds, microseconds] = /"seconds": (\d+), "microseconds": (\d+)/.exec(answers) ?? [];
  const recorded = [
    GREETING,
    emptyReturn('a'),
    statusReturn('b'),
    unknownCommand('c'),
    resumeEvent(Number(seconds), Number(microseconds)),
    emptyReturn('d'),
    PARSE_ERROR,
  ].join('');
  expect(withoutVersion(answers)).toBe(withoutVersion(recorded));
});

test.each(builds)('the greeting of a pretty monitor and of the human one: $label', async ({ system, env }) => {
  await using qemu = await RealQemu.start(system, {
    env,
    args: () => ['-qmp-pretty', 'unix:pretty.sock,server=on,wait=off', '-monitor', 'unix:hmp.sock,server=on,wait=off'],
  });
  const pretty = await rawAnswers(join(qemu.directory, 'pretty.sock'), [], PRETTY_GREETING.split('\r\n').length - 1);
  expect(withoutVersion(pretty)).toBe(withoutVersion(PRETTY_GREETING));
  const hmp = await rawAnswers(join(qemu.directory, 'hmp.sock'), [], 1);
  expect(withoutVersion(hmp).slice(0, 30)).toBe(withoutVersion(HMP_BANNER).slice(0, 30));
});
