// Writes icons.svg, VENDOR.json and LICENSES.txt beside the bundles.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const out = process.argv[2];
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const ICONS = {
  menu: 'panel-left', new: 'square-pen', search: 'search', close: 'x', more: 'ellipsis',
  rename: 'pencil', delete: 'trash-2', settings: 'settings', theme: 'sun-moon', language: 'languages',
  send: 'arrow-up', stop: 'square', down: 'arrow-down', copy: 'copy', done: 'check', retry: 'rotate-cw',
  tool: 'wrench', error: 'circle-x', refused: 'ban', unknown: 'circle-help', warning: 'triangle-alert',
  info: 'info', think: 'brain', open: 'chevron-right', back: 'arrow-left', signout: 'log-out',
  key: 'key-round', model: 'cpu', user: 'user', plug: 'plug-zap', approve: 'shield-question-mark',
  idea: 'lightbulb', calendar: 'calendar-clock', code: 'code-xml', text: 'text-quote', offline: 'wifi-off',
  loop: 'repeat-2', eye: 'eye',
};

const icon = ([id, name]) => {
  const svg = readFileSync(join('node_modules/lucide-static/icons', `${name}.svg`), 'utf8');
  const body = /<svg[^>]*>([\s\S]*)<\/svg>/.exec(svg)[1];
  return `<symbol id="${id}" viewBox="0 0 24 24">${body.replace(/\s*\n\s*/g, '')}</symbol>`;
};
writeFileSync(
  join(out, 'icons.svg'),
  `<svg xmlns="http://www.w3.org/2000/svg">\n${Object.entries(ICONS).map(icon).join('\n')}\n</svg>\n`,
);

// What ends up in the bundles, with everything it pulls in.
const shipped = Object.entries(lock.packages)
  .filter(([path, entry]) => path && !entry.dev && !entry.optional)
  .map(([path, entry]) => ({
    path, name: path.replace(/^node_modules\//, ''), version: entry.version,
    license: entry.license, integrity: entry.integrity,
  }));
const sha256 = file => createHash('sha256').update(readFileSync(join(out, file))).digest('hex');
const files = ['hl.js', 'icons.svg', 'lit.js', 'md.js'];
writeFileSync(join(out, 'VENDOR.json'), JSON.stringify({
  packages: shipped.map(({ path, ...entry }) => entry),
  files: Object.fromEntries(files.map(file => [file, { sha256: sha256(file) }])),
}, null, 2) + '\n');

const licence = ({ path, name, version, license }) => {
  const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt', 'license'].map(f => join(path, f)).find(existsSync);
  const text = file ? readFileSync(file, 'utf8').trim() : `Licensed under ${license}.`;
  return `${name} ${version} (${license})\n${'='.repeat(60)}\n${text}\n`;
};
writeFileSync(join(out, 'LICENSES.txt'), shipped.map(licence).join('\n\n').replace(/\r/g, ''));
