-- One row per record of a source that can make a claim: the file and the line where it is now. They
-- move with every file, also where the record does not change, so they are joined last.
select
    source_record,
    source_sha256,
    source_row,
from {{ ref('stg_advisories__debian') }}
union all
select
    source_record,
    source_sha256,
    source_row,
from {{ ref('stg_advisories__echo') }}
union all
select
    source_record,
    source_sha256,
    source_row,
from {{ ref('stg_advisories__kev') }}
union all
select
    source_record,
    source_sha256,
    source_row,
from {{ ref('stg_advisories__nvd') }}
union all
select
    source_record,
    source_sha256,
    source_row,
from {{ ref('stg_advisories__nvd_modified') }}
union all
select
    source_record,
    source_sha256,
    source_row,
from {{ ref('stg_advisories__osv') }}
union all
select
    source_record,
    source_sha256,
    source_row,
from {{ ref('stg_advisories__overrides') }}
