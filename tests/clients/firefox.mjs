// SPDX-License-Identifier: MIT
// Firefox, relay only, through a data channel. It never binds a channel: only Send and Data.
import fs from 'fs';
import os from 'os';
import path from 'path';
import { finish, relayOnlyTransfer, require, turn } from './common.mjs';

const puppeteer = require('puppeteer-core');
const bytes = Number(process.env.BYTES || 1000000);
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'pc-firefox-'));
const browser = await puppeteer.launch({
	browser: 'firefox',
	executablePath: '/usr/bin/firefox-esr',
	headless: true,
	userDataDir: profile,
	extraPrefsFirefox: {
		'network.captive-portal-service.enabled': false,
		'network.connectivity-service.enabled': false,
		'app.normandy.enabled': false,
		'toolkit.telemetry.enabled': false,
		'services.settings.server': 'data:,',
	},
});
const page = await browser.newPage();
const result = await page.evaluate(relayOnlyTransfer,
	{ url: turn.url, user: turn.user, pass: turn.pass, bytes, limitMs: 40000 });
await browser.close();
finish(result.how === 'answered' && result.types.every((t) => t === 'relay'), result);
