// SPDX-License-Identifier: MIT
// node-datachannel (libdatachannel with libjuice), relay only.
import { finish, require, turn } from './common.mjs';

const nd = require('node-datachannel');
const bytes = Number(process.env.BYTES || 1000000);
const peer = (name) => new nd.PeerConnection(name, {
	iceServers: [{ hostname: turn.host, port: turn.port, username: turn.user,
		password: turn.pass, relayType: 'TurnUdp' }],
	iceTransportPolicy: 'relay',
});
const a = peer('a');
const b = peer('b');
let got = 0;

function end(how) {
	const pair = a.getSelectedCandidatePair();
	a.close();
	b.close();
	nd.cleanup();
	finish(how === 'all' && pair?.local?.type === 'relay', { how, got, pair });
}
// Descriptions and candidates come in any order; a candidate needs the description before it.
function join(from, to) {
	let described = false;
	const early = [];
	from.onLocalDescription((sdp, type) => {
		to.setRemoteDescription(sdp, type);
		described = true;
		early.forEach((c) => to.addRemoteCandidate(...c));
	});
	from.onLocalCandidate((...c) => described ? to.addRemoteCandidate(...c) : early.push(c));
}
join(a, b);
join(b, a);
b.onDataChannel((channel) => {
	globalThis.keep = channel;
	channel.onMessage((m) => {
		got += m.length;
		if (got >= bytes)
			end('all');
	});
});
const channel = a.createDataChannel('load');
channel.onOpen(() => {
	const chunk = Buffer.alloc(10000);
	for (let sent = 0; sent < bytes; sent += chunk.length)
		channel.sendMessageBinary(chunk);
});
setTimeout(() => end('timeout'), 25000);
