// SPDX-License-Identifier: MIT
// werift, relay only. It binds channels without CreatePermission.
import { finish, require, turn } from './common.mjs';

const { RTCPeerConnection } = require('werift');
const bytes = Number(process.env.BYTES || 200000);
const config = {
	iceServers: [{ urls: `turn:${turn.host}:${turn.port}`, username: turn.user,
		credential: turn.pass }],
	iceTransportPolicy: 'relay',
};
const a = new RTCPeerConnection(config);
const b = new RTCPeerConnection(config);
const types = [];
let got = 0;

a.onIceCandidate.subscribe((c) => {
	if (!c)
		return;
	types.push(c.candidate.split(' ')[7]);
	b.addIceCandidate(c);
});
b.onIceCandidate.subscribe((c) => c && a.addIceCandidate(c));
b.onDataChannel.subscribe((channel) => channel.onMessage.subscribe((m) => {
	got += m.length;
	if (got >= bytes)
		finish(types.every((t) => t === 'relay'), { how: 'all', got, types });
}));
const channel = a.createDataChannel('load');
channel.stateChanged.subscribe((state) => {
	if (state !== 'open')
		return;
	const chunk = Buffer.alloc(1000);
	for (let sent = 0; sent < bytes; sent += chunk.length)
		channel.send(chunk);
});
await a.setLocalDescription(await a.createOffer());
await b.setRemoteDescription(a.localDescription);
await b.setLocalDescription(await b.createAnswer());
await a.setRemoteDescription(b.localDescription);
setTimeout(() => finish(false, { how: 'timeout', got, types }), 40000);
