//! Kinds of storage and of checksum, with their wire numbers.

/// Medium of a DataNode's volume (`StorageTypeProto`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum StorageType {
    /// Spinning disk; Hadoop's default.
    #[default]
    Disk = 1,
    /// Flash.
    Ssd = 2,
    /// Dense, slow.
    Archive = 3,
    /// Memory; transient.
    RamDisk = 4,
    /// External (3.1+).
    Provided = 5,
    /// Persistent memory (3.4+).
    Nvdimm = 6,
}

impl StorageType {
    /// Reads the wire number; `None` for an unknown one.
    pub fn from_wire(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Disk,
            2 => Self::Ssd,
            3 => Self::Archive,
            4 => Self::RamDisk,
            5 => Self::Provided,
            6 => Self::Nvdimm,
            _ => return None,
        })
    }
    /// Whether replicas there are lost with power; nothing durable may be counted on it.
    pub fn is_transient(self) -> bool {
        self == Self::RamDisk
    }
    /// Hadoop's name, as in `dfs.datanode.data.dir` prefixes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "DISK",
            Self::Ssd => "SSD",
            Self::Archive => "ARCHIVE",
            Self::RamDisk => "RAM_DISK",
            Self::Provided => "PROVIDED",
            Self::Nvdimm => "NVDIMM",
        }
    }
    /// Reads Hadoop's name, any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Disk,
            Self::Ssd,
            Self::Archive,
            Self::RamDisk,
            Self::Provided,
            Self::Nvdimm,
        ]
        .into_iter()
        .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }
}

/// How chunks are checksummed; the numbers are those of meta files and `ChecksumTypeProto`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum ChecksumType {
    /// No checksums.
    Null = 0,
    /// zlib's polynomial.
    Crc32 = 1,
    /// Castagnoli's polynomial; Hadoop's default.
    #[default]
    Crc32c = 2,
}

impl ChecksumType {
    /// Reads the wire or disk number; `None` for an unknown one.
    pub fn from_wire(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Null,
            1 => Self::Crc32,
            2 => Self::Crc32c,
            _ => return None,
        })
    }
    /// Bytes of one checksum: 0 or 4.
    pub fn size(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Crc32 | Self::Crc32c => 4,
        }
    }
    /// Hadoop's name (`dfs.checksum.type`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
        }
    }
}
