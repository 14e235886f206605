// SPDX-License-Identifier: MIT
// Chromium, relay only, through a data channel.
import fs from 'fs';
import os from 'os';
import path from 'path';
import { finish, relayOnlyTransfer, require, turn } from './common.mjs';

const { chromium } = require('playwright-core');
const bytes = Number(process.env.BYTES || 1000000);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'pc-chromium-'));
const context = await chromium.launchPersistentContext(profile, {
	executablePath: '/usr/bin/chromium',
	headless: true,
	args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
		'--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = context.pages()[0] || await context.newPage();
const result = await page.evaluate(relayOnlyTransfer,
	{ url: turn.url, user: turn.user, pass: turn.pass, bytes, limitMs: 30000 });
await context.close();
finish(result.how === 'answered' && result.types.every((t) => t === 'relay'), result);
