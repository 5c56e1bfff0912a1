#!/usr/bin/env node
import { systemClock } from '../base/clock.ts';
import { runCli } from './run-cli.ts';

// A reader that goes away (`| head`, a terminal that is closed) must not end a migration halfway.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

const status = await runCli(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  cwd: process.cwd(),
  clock: systemClock,
});

// What is still open now (a connection, a helper's pipe) is nothing that is waited for, and must not keep the command from
// ending. Writing to files, terminals and pipes is synchronous on Linux, so nothing is lost.
process.exit(status);
