// SPDX-License-Identifier: MIT
// What the JavaScript clients share: modules from $PC_NODE_MODULES, the relay from the environment.
import { createRequire } from 'module';

export const require = createRequire(process.env.PC_NODE_MODULES + '/');
export const turn = {
	host: process.env.TURN_HOST,
	port: Number(process.env.TURN_PORT || 3478),
	user: process.env.TURN_USER,
	pass: process.env.TURN_PASS,
	url: `turn:${process.env.TURN_HOST}:${process.env.TURN_PORT || 3478}?transport=udp`,
};

// Prints the result as one JSON line and ends with 0 when it is good.
export function finish(ok, result) {
	console.log(JSON.stringify({ ok, ...result }));
	process.exit(ok ? 0 : 1);
}

/*
 * Runs inside a page: two peer connections that may only use the relay, and a data channel that
 * carries `bytes` bytes. Resolves to { how, got, types, errors }.
 */
export async function relayOnlyTransfer({ url, user, pass, bytes, limitMs }) {
	const config = {
		iceServers: [{ urls: [url], username: user, credential: pass }],
		iceTransportPolicy: 'relay',
	};
	const a = new RTCPeerConnection(config);
	const b = new RTCPeerConnection(config);
	const types = [];
	const errors = [];
	const join = (from, to) => {
		from.onicecandidate = (e) => {
			if (!e.candidate || !e.candidate.candidate)
				return;
			types.push(e.candidate.candidate.split(' ')[7]);
			to.addIceCandidate(e.candidate).catch((x) => errors.push(String(x)));
		};
		from.onicecandidateerror = (e) => errors.push(`${e.errorCode} ${e.errorText}`);
	};
	join(a, b);
	join(b, a);
	const channel = a.createDataChannel('load');
	let got = 0;
	const done = new Promise((resolve) => {
		setTimeout(() => resolve('timeout'), limitMs);
		b.ondatachannel = (e) => {
			e.channel.binaryType = 'arraybuffer';
			e.channel.onmessage = (m) => {
				got += m.data.byteLength;
				if (got >= bytes)
					e.channel.send('all of it');
			};
		};
		channel.onmessage = () => resolve('answered');
		channel.onopen = async () => {
			const chunk = new Uint8Array(10000);
			for (let sent = 0; sent < bytes; sent += chunk.length) {
				while (channel.bufferedAmount > 1 << 19)
					await new Promise((r) => setTimeout(r, 2));
				channel.send(chunk);
			}
		};
	});
	await a.setLocalDescription(await a.createOffer());
	await b.setRemoteDescription(a.localDescription);
	await b.setLocalDescription(await b.createAnswer());
	await a.setRemoteDescription(b.localDescription);
	const how = await done;
	// What stays allocated would be in the way of a later client that happens to get its port.
	a.close();
	b.close();
	return { how, got, types, errors };
}
