/**
 * What QEMU 7.2.22 of Debian 12 sends, byte for byte, with the id of the command where it has one. The fake monitor of
 * the unit tests sends these; `recorded-bytes.integ.ts` compares them with a real one.
 */
export const GREETING =
  '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2+dfsg-7+deb12u18+b3"}, "capabilities": ["oob"]}}\r\n';

/** The same from a monitor with `pretty=on`. */
export const PRETTY_GREETING: string = [
  '{',
  '    "QMP": {',
  '        "version": {',
  '            "qemu": {',
  '                "micro": 22,',
  '                "minor": 2,',
  '                "major": 7',
  '            },',
  '            "package": "Debian 1:7.2+dfsg-7+deb12u18+b3"',
  '        },',
  '        "capabilities": [',
  '            "oob"',
  '        ]',
  '    }',
  '}',
  '',
].join('\r\n');

/** The answer to a command that answers nothing, such as `qmp_capabilities`. */
export const emptyReturn = (id: string): string => `{"return": {}, "id": "${id}"}\r\n`;

/** The answer to `query-status` of a machine that was started with -S. */
export const statusReturn = (id: string): string =>
  `{"return": {"status": "prelaunch", "singlestep": false, "running": false}, "id": "${id}"}\r\n`;

/** The answer to `query-statuz`. */
export const unknownCommand = (id: string): string =>
  `{"id": "${id}", "error": {"class": "CommandNotFound", "desc": "The command query-statuz has not been found"}}\r\n`;

/** What QEMU says of a line that is not JSON. */
export const PARSE_ERROR = `{"error": {"class": "GenericError", "desc": "JSON parse error, stray '\\"x\\n'"}}\r\n`;

/** The event of the command `cont`, which comes before the answer. */
export const resumeEvent = (seconds: number, microseconds: number): string =>
  `{"timestamp": {"seconds": ${seconds}, "microseconds": ${microseconds}}, "event": "RESUME"}\r\n`;

/** What the human monitor (HMP) says to whoever connects. */
export const HMP_BANNER = "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ";
