import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isFerryError } from '../base/index.ts';
import { parseMessage } from './message.ts';
import { GREETING, resumeEvent, statusReturn, unknownCommand } from './testing/recorded-bytes.ts';

test('the kinds of message', () => {
  expect(parseMessage(GREETING)).toEqual({
    kind: 'greeting',
    greeting: {
      version: { qemu: { major: 7, minor: 2, micro: 22 }, package: 'Debian 1:7.2+dfsg-7+deb12u18+b3' },
      capabilities: ['oob'],
    },
  });
  expect(parseMessage(resumeEvent(1, 2))).toEqual({
    kind: 'event',
    event: { event: 'RESUME', data: {}, timestamp: { seconds: 1, microseconds: 2 } },
  });
  expect(parseMessage(statusReturn('a'))).toMatchObject({ kind: 'return', id: 'a', value: { running: false } });
  expect(parseMessage(unknownCommand('a'))).toMatchObject({ kind: 'error', id: 'a' });
  expect(parseMessage('{"return": null}')).toMatchObject({ kind: 'return', id: undefined, value: null });
});

test('an event whose time the host could not tell', () => {
  expect(parseMessage('{"event": "STOP", "timestamp": {"seconds": -1, "microseconds": -1}}')).toMatchObject({
    event: { timestamp: { seconds: -1, microseconds: -1 } },
  });
  expect(parseMessage('{"event": "STOP"}')).toMatchObject({ event: { timestamp: { seconds: -1, microseconds: -1 } } });
});

test.each([
  ['{"QMP": {}}', /greeting without a version/],
  ['{"QMP": 1}', /neither a greeting/],
  ['{"error": "no"}', /neither a greeting/],
  ['{"error": {"class": "GenericError"}}', /neither a greeting/],
  ['[]', /not an object/],
  ['{', /not JSON/],
])('%s breaks the protocol', (text, message) => {
  expect(() => parseMessage(text)).toThrow(message);
});

function outcome(text: string): unknown {
  try {
    return parseMessage(text).kind;
  } catch (error) {
    return isFerryError(error, 'QMP_PROTOCOL') ? 'broken protocol' : error;
  }
}

test('whatever comes is a message or breaks the protocol, with nothing else thrown', () => {
  const word = fc.constantFrom('QMP', 'version', 'qemu', 'capabilities', 'event', 'timestamp', 'error', 'class', 'id');
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof({ depthSize: 'small' }, fc.jsonValue(), fc.dictionary(word, tie('value'))),
  }));
  fc.assert(
    fc.property(fc.dictionary(word, value), (message) => {
      expect(['greeting', 'event', 'return', 'error', 'broken protocol']).toContain(outcome(JSON.stringify(message)));
    }),
  );
});
