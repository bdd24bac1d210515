//! C_Sign by itself, for keys that want a login between C_SignInit and it (CKA_ALWAYS_AUTHENTICATE): cryptoki
//! has C_SignInit and C_Sign in one call only.
#![expect(unsafe_code, reason = "a call of a C module")]

use std::path::Path;

use cryptoki_sys::{CK_FUNCTION_LIST_PTR, CK_RV, CK_ULONG, CKR_OK, Pkcs11};

use crate::error::Error;
use crate::session::Session;

/// The longest signature that is taken, in bytes: RSA with 16,384 bits.
const LONGEST: usize = 2048;

/// Signs `data` with the operation that is under way in `session`.
pub(crate) fn sign(module: &Path, session: &Session, data: &[u8]) -> Result<Vec<u8>, Error> {
    let cannot = |why: String| Error::Token { what: "sign", why };
    let returned = |code: CK_RV| cannot(format!("C_Sign returned {code:#010x}"));
    // SAFETY: the module is loaded already, with the same path, so this runs no code of it anew.
    let library = unsafe { Pkcs11::new(module) };
    let library = library.map_err(|error| cannot(error.to_string()))?;
    let mut list: CK_FUNCTION_LIST_PTR = std::ptr::null_mut();
    // SAFETY: `list` is where the pointer goes; the function exists, as cryptoki has found the module by it.
    let code = unsafe { library.C_GetFunctionList(&raw mut list) };
    if code != CKR_OK || list.is_null() {
        return Err(returned(code));
    }
    // SAFETY: not null, and the list is the module's, which is never unloaded. It may not be aligned.
    let sign = unsafe { (&raw const (*list).C_Sign).read_unaligned() };
    let sign = sign.ok_or_else(|| cannot("it lacks C_Sign".to_owned()))?;
    let mut signature = vec![0_u8; LONGEST];
    let mut length = LONGEST as CK_ULONG;
    // SAFETY: the session is open and has a signature under way. The data is only read, and `length` says how
    // much room there is.
    let code = unsafe {
        sign(
            session.handle(),
            data.as_ptr().cast_mut(),
            data.len() as CK_ULONG,
            signature.as_mut_ptr(),
            &raw mut length,
        )
    };
    if code != CKR_OK {
        return Err(returned(code));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(cannot("its signature is too long".to_owned()));
    }
    signature.truncate(length);
    Ok(signature)
}
