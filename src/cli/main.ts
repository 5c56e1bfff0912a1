#!/usr/bin/env node
import { systemClock } from '../base/clock.ts';
import { runCli } from './run-cli.ts';

// A reader that goes away (`| head`, a terminal that is closed) must not end a migration halfway.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

process.exitCode = await runCli(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  clock: systemClock,
});
