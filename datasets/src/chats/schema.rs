//! The tables and indexes of WhatsApp's `msgstore.db` (Android, 2.22.5) that matter for how it grows.
//!
//! Names, columns and indexes are WhatsApp's, so that the order of the columns, the width of the rows and the scatter of
//! the indexes are. The full-text table keeps its own copy of the text, as WhatsApp's does. What is left out: some 80
//! tables that are empty or tiny in practice, such as payments, polls and channels.

/// The settings of the file, before anything is in it: `auto_vacuum` is FULL.
pub(super) const FILE: &str = "PRAGMA page_size = 4096; PRAGMA auto_vacuum = 1; PRAGMA encoding = 'UTF-8';";

/// How a connection writes. A database that is torn by a crash is made anew, so there is no journal; and it is for
/// nobody else until it is closed.
pub(super) const CONNECTION: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -131072;
    PRAGMA temp_store = MEMORY; PRAGMA locking_mode = EXCLUSIVE;";

/// All tables, and the triggers that take the satellites of a message along when it is deleted.
pub(super) const TABLES: &str = "
CREATE TABLE android_metadata (locale TEXT);
CREATE TABLE props (_id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, value TEXT);
CREATE TABLE jid (_id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, server TEXT NOT NULL, agent INTEGER,
    device INTEGER, type INTEGER, raw_string TEXT);
CREATE TABLE chat (_id INTEGER PRIMARY KEY AUTOINCREMENT, jid_row_id INTEGER UNIQUE, hidden INTEGER, subject TEXT,
    created_timestamp INTEGER, display_message_row_id INTEGER, last_message_row_id INTEGER,
    last_read_message_row_id INTEGER, last_read_receipt_sent_message_row_id INTEGER,
    last_important_message_row_id INTEGER, archived INTEGER, sort_timestamp INTEGER, mod_tag INTEGER, gen REAL,
    spam_detection INTEGER, unseen_earliest_message_received_time INTEGER, unseen_message_count INTEGER,
    unseen_missed_calls_count INTEGER, unseen_row_count INTEGER, plaintext_disabled INTEGER, vcard_ui_dismissed INTEGER,
    change_number_notified_message_row_id INTEGER, show_group_description INTEGER, ephemeral_expiration INTEGER,
    last_read_ephemeral_message_row_id INTEGER, ephemeral_setting_timestamp INTEGER,
    unseen_important_message_count INTEGER NOT NULL DEFAULT 0, group_type INTEGER NOT NULL DEFAULT 0,
    last_message_reaction_row_id INTEGER, last_seen_message_reaction_row_id INTEGER,
    unseen_message_reaction_count INTEGER);
CREATE TABLE message (_id INTEGER PRIMARY KEY AUTOINCREMENT, chat_row_id INTEGER NOT NULL, from_me INTEGER NOT NULL,
    key_id TEXT NOT NULL, sender_jid_row_id INTEGER, status INTEGER, broadcast INTEGER, recipient_count INTEGER,
    participant_hash TEXT, origination_flags INTEGER, origin INTEGER, timestamp INTEGER, received_timestamp INTEGER,
    receipt_server_timestamp INTEGER, message_type INTEGER, text_data TEXT, starred INTEGER, lookup_tables INTEGER,
    message_add_on_flags INTEGER, sort_id INTEGER NOT NULL DEFAULT 0);
CREATE TABLE message_media (message_row_id INTEGER PRIMARY KEY, chat_row_id INTEGER, autotransfer_retry_enabled INTEGER,
    multicast_id TEXT, media_job_uuid TEXT, transferred INTEGER, transcoded INTEGER, file_path TEXT, file_size INTEGER,
    suspicious_content INTEGER, trim_from INTEGER, trim_to INTEGER, face_x INTEGER, face_y INTEGER, media_key BLOB,
    media_key_timestamp INTEGER, width INTEGER, height INTEGER, has_streaming_sidecar INTEGER, gif_attribution INTEGER,
    thumbnail_height_width_ratio REAL, direct_path TEXT, first_scan_sidecar BLOB, first_scan_length INTEGER,
    message_url TEXT, mime_type TEXT, file_length INTEGER, media_name TEXT, file_hash TEXT, media_duration INTEGER,
    page_count INTEGER, enc_file_hash TEXT, partial_media_hash TEXT, partial_media_enc_hash TEXT,
    is_animated_sticker INTEGER, original_file_hash TEXT);
CREATE TABLE message_thumbnail (message_row_id INTEGER PRIMARY KEY, thumbnail BLOB);
CREATE TABLE message_quoted (message_row_id INTEGER PRIMARY KEY AUTOINCREMENT, chat_row_id INTEGER NOT NULL,
    parent_message_chat_row_id INTEGER NOT NULL, from_me INTEGER NOT NULL, sender_jid_row_id INTEGER,
    key_id TEXT NOT NULL, timestamp INTEGER, message_type INTEGER, origin INTEGER, text_data TEXT,
    payment_transaction_id TEXT, lookup_tables INTEGER);
CREATE TABLE message_add_on (_id INTEGER PRIMARY KEY AUTOINCREMENT, chat_row_id INTEGER, from_me INTEGER,
    key_id TEXT NOT NULL, sender_jid_row_id INTEGER, parent_message_row_id INTEGER, timestamp INTEGER, status INTEGER,
    message_add_on_type INTEGER, received_timestamp INTEGER);
CREATE TABLE message_add_on_reaction (message_add_on_row_id INTEGER PRIMARY KEY, reaction TEXT, sender_timestamp INTEGER);
CREATE TABLE message_revoked (message_row_id INTEGER PRIMARY KEY, revoked_key_id TEXT NOT NULL, admin_jid_row_id INTEGER,
    revoke_timestamp INTEGER);
CREATE TABLE message_edit_info (message_row_id INTEGER PRIMARY KEY, original_key_id TEXT NOT NULL,
    edited_timestamp INTEGER NOT NULL, sender_timestamp INTEGER NOT NULL);
CREATE TABLE receipt_user (_id INTEGER PRIMARY KEY AUTOINCREMENT, message_row_id INTEGER NOT NULL,
    receipt_user_jid_row_id INTEGER NOT NULL, receipt_timestamp INTEGER, read_timestamp INTEGER,
    played_timestamp INTEGER);
CREATE TABLE media_refs (_id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT UNIQUE, ref_count INTEGER);
CREATE TABLE call_log (_id INTEGER PRIMARY KEY AUTOINCREMENT, jid_row_id INTEGER, from_me INTEGER, call_id TEXT,
    transaction_id INTEGER, timestamp INTEGER, video_call INTEGER, duration INTEGER, call_result INTEGER,
    bytes_transferred INTEGER, group_jid_row_id INTEGER NOT NULL DEFAULT 0);
CREATE VIRTUAL TABLE message_ftsv2 USING FTS4(content, fts_jid, fts_namespace);
CREATE TRIGGER message_bd_for_media_trigger BEFORE DELETE ON message
    BEGIN DELETE FROM message_media WHERE message_row_id = old._id; END;
CREATE TRIGGER message_bd_for_thumbnail_trigger BEFORE DELETE ON message
    BEGIN DELETE FROM message_thumbnail WHERE message_row_id = old._id; END;
CREATE TRIGGER message_bd_for_quoted_trigger BEFORE DELETE ON message
    BEGIN DELETE FROM message_quoted WHERE message_row_id = old._id; END;
CREATE TRIGGER message_bd_for_receipt_user_trigger BEFORE DELETE ON message
    BEGIN DELETE FROM receipt_user WHERE message_row_id = old._id; END;
CREATE TRIGGER message_bd_for_add_on_trigger BEFORE DELETE ON message
    BEGIN DELETE FROM message_add_on WHERE parent_message_row_id = old._id; END;
CREATE TRIGGER message_add_on_bd_for_reaction_trigger BEFORE DELETE ON message_add_on
    BEGIN DELETE FROM message_add_on_reaction WHERE message_add_on_row_id = old._id; END;
";

/// All indexes.
pub(super) const INDEXES: &str = "
CREATE UNIQUE INDEX jid_index ON jid (user, server, agent, device, type);
CREATE UNIQUE INDEX message_key_index ON message (chat_row_id, from_me, key_id, sender_jid_row_id);
CREATE INDEX message_sort_id_index ON message (sort_id);
CREATE INDEX message_starred_index ON message (starred);
CREATE INDEX message_type_chat_index ON message (chat_row_id, message_type);
CREATE INDEX message_chat_id_index ON message (chat_row_id, _id);
CREATE INDEX message_type_index ON message (message_type);
CREATE INDEX message_media_chat_index ON message_media (chat_row_id);
CREATE INDEX message_media_hash_index ON message_media (file_hash);
CREATE INDEX message_media_original_file_hash_index ON message_media (original_file_hash);
CREATE UNIQUE INDEX message_add_on_index ON message_add_on (chat_row_id, from_me, key_id, sender_jid_row_id);
CREATE INDEX message_add_on_parent_index ON message_add_on (parent_message_row_id, message_add_on_type);
CREATE UNIQUE INDEX receipt_user_index ON receipt_user (message_row_id, receipt_user_jid_row_id);
CREATE UNIQUE INDEX call_log_key_index ON call_log (jid_row_id, from_me, call_id, transaction_id);
";
