//! A growable array in fixed pages: no element ever moves when it grows, and at most one page is wasted.
//!
//! A plain `Vec` of a hundred million entries doubles by copying them under the lock and leaves half of itself unused.

/// Elements of a page.
const PAGE_LEN: usize = 1024;

/// A list of small copyable values with swap-removal.
#[derive(Debug)]
pub(crate) struct PagedList<T> {
    pages: Vec<Box<[T]>>,
    len: usize,
}

impl<T> Default for PagedList<T> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Copy + Default> PagedList<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }
    /// Appends `value` and returns its position.
    pub(crate) fn push(&mut self, value: T) -> usize {
        let position = self.len;
        if position / PAGE_LEN == self.pages.len() {
            self.pages.push(vec![T::default(); PAGE_LEN].into_boxed_slice());
        }
        self.len += 1;
        self.set(position, value);
        position
    }
    /// Panics when `position >= len`.
    pub(crate) fn get(&self, position: usize) -> T {
        assert!(position < self.len);
        self.pages[position / PAGE_LEN][position % PAGE_LEN]
    }
    /// Panics when `position >= len`.
    pub(crate) fn set(&mut self, position: usize, value: T) {
        *self.get_mut(position) = value;
    }
    /// Panics when `position >= len`.
    pub(crate) fn get_ref(&self, position: usize) -> &T {
        assert!(position < self.len);
        &self.pages[position / PAGE_LEN][position % PAGE_LEN]
    }
    /// Panics when `position >= len`.
    pub(crate) fn get_mut(&mut self, position: usize) -> &mut T {
        assert!(position < self.len);
        &mut self.pages[position / PAGE_LEN][position % PAGE_LEN]
    }
    /// Drops the last element, giving back its page when two are free.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let value = self.get(last);
        self.len = last;
        if self.pages.len() * PAGE_LEN >= self.len + 2 * PAGE_LEN {
            self.pages.pop();
        }
        Some(value)
    }
    /// Copies all elements to the end of `list`, a page at a time.
    pub(crate) fn append_to(&self, list: &mut Vec<T>) {
        list.reserve(self.len);
        for (number, page) in self.pages.iter().enumerate() {
            let used = self.len.saturating_sub(number * PAGE_LEN).min(PAGE_LEN);
            list.extend_from_slice(&page[..used]);
        }
    }
    /// Heap bytes held.
    pub(crate) fn allocated_bytes(&self) -> usize {
        self.pages.len() * PAGE_LEN * size_of::<T>() + self.pages.capacity() * size_of::<Box<[T]>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_shrinks_by_pages() {
        let mut list = PagedList::<u32>::default();
        for n in 0..5000 {
            assert_eq!(list.push(n) as u32, n);
        }
        assert_eq!((list.len(), list.get(4321), list.pages.len()), (5000, 4321, 5));
        let mut copy = Vec::new();
        list.append_to(&mut copy);
        assert_eq!(copy, (0..5000).collect::<Vec<u32>>());
        while list.len() > 10 {
            list.pop();
        }
        assert_eq!((list.pages.len(), list.get(9)), (2, 9));
        assert_eq!(PagedList::<u32>::default().pop(), None);
    }
}
