/** Passkeys in the browser: the farm's options in, what the authenticator answers out, both as JSON with base64url. */

import { Problem } from "../api/client"
import type { components } from "../api/schema"

export type NewCredential = components["schemas"]["NewCredential"]
export type ShownCredential = components["schemas"]["ShownCredential"]
/** As the farm sends them: WebAuthn's own names, binary parts as text. */
export type Options = Readonly<Record<string, unknown>>

interface Described {
  id: string
}

export function toBytes(text: string): Uint8Array<ArrayBuffer> {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"))
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0))
}

export function toText(content: ArrayBuffer): string {
  const plain = Array.from(new Uint8Array(content), (byte) => String.fromCharCode(byte)).join("")
  return btoa(plain).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "")
}

/** Whether passkeys of this farm can be used on this page. */
export function passkeysWorkHere(domain: string | null | undefined): boolean {
  return Boolean(domain) && isAt(location.hostname, domain ?? "") && typeof PublicKeyCredential !== "undefined"
}

export function isAt(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`)
}

export async function makePasskey(options: Options): Promise<NewCredential> {
  const user = options["user"] as { id: string; name: string; displayName: string }
  const publicKey = {
    ...options,
    challenge: toBytes(options["challenge"] as string),
    user: { ...user, id: toBytes(user.id) },
    excludeCredentials: described(options["excludeCredentials"]),
  } as unknown as PublicKeyCredentialCreationOptions
  const credential = await asked(() => navigator.credentials.create({ publicKey }))
  const response = credential.response as AuthenticatorAttestationResponse
  return {
    ...named(credential),
    response: { clientDataJSON: toText(response.clientDataJSON), attestationObject: toText(response.attestationObject) },
  }
}

export async function showPasskey(options: Options): Promise<ShownCredential> {
  const publicKey = {
    ...options,
    challenge: toBytes(options["challenge"] as string),
    allowCredentials: described(options["allowCredentials"]),
  } as unknown as PublicKeyCredentialRequestOptions
  const credential = await asked(() => navigator.credentials.get({ publicKey }))
  const response = credential.response as AuthenticatorAssertionResponse
  return {
    ...named(credential),
    response: {
      clientDataJSON: toText(response.clientDataJSON),
      authenticatorData: toText(response.authenticatorData),
      signature: toText(response.signature),
      userHandle: response.userHandle ? toText(response.userHandle) : null,
    },
  }
}

function described(given: unknown): unknown[] {
  return ((given ?? []) as Described[]).map((each) => ({ ...each, type: "public-key", id: toBytes(each.id) }))
}

function named(credential: PublicKeyCredential): { id: string; rawId: string; type: "public-key" } {
  return { id: credential.id, rawId: toText(credential.rawId), type: "public-key" }
}

/** Browsers say the same for "cancelled", "none here" and "took too long", so that pages learn nothing. */
async function asked(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  let credential: Credential | null
  try {
    credential = await ask()
  } catch (error) {
    const known = error instanceof DOMException && error.name === "InvalidStateError"
    const text = known ? "This device has a passkey for your account already." : "No passkey was used. You can try again."
    throw new Problem(0, known ? "passkey_known" : "passkey_cancelled", text, false)
  }
  if (!(credential instanceof PublicKeyCredential)) throw new Problem(0, "passkey_cancelled", "No passkey was used. You can try again.", false)
  return credential
}
